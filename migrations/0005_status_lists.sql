-- Token Status Lists of access tokens (docs/decisions/0013).

-- The tokens for one resource that expire before one moment.
CREATE TABLE status_list (
    list_id TEXT PRIMARY KEY,
    resource TEXT NOT NULL,
    window_end BIGINT NOT NULL,
    -- A window that needs more than one list counts them.
    part BIGINT NOT NULL,
    -- The first place that nobody has leased.
    next_index BIGINT NOT NULL,
    -- When a bit was last set, and never earlier than before.
    changed_at BIGINT NOT NULL,
    UNIQUE (resource, window_end, part)
);
CREATE INDEX status_list_end ON status_list (window_end);

-- Leased places whose tokens were asked for by a client in its own name.
CREATE TABLE status_block (
    list_id TEXT NOT NULL,
    first_index BIGINT NOT NULL,
    length BIGINT NOT NULL,
    client_id TEXT NOT NULL,
    -- The person whom the tokens name, where one is named.
    user_id TEXT,
    PRIMARY KEY (list_id, first_index)
);
CREATE INDEX status_block_client ON status_block (client_id);
CREATE INDEX status_block_user ON status_block (user_id);

-- The places of exchanged tokens, and of those that they came of.
CREATE TABLE status_heir (
    list_id TEXT NOT NULL,
    status_index BIGINT NOT NULL,
    parent_list TEXT NOT NULL,
    parent_index BIGINT NOT NULL,
    -- The grant by which the person agreed to the exchange.
    grant_id TEXT,
    PRIMARY KEY (list_id, status_index)
);
CREATE INDEX status_heir_parent ON status_heir (parent_list, parent_index);
CREATE INDEX status_heir_grant ON status_heir (grant_id);

-- Places whose bit is set. A bit is never cleared.
CREATE TABLE status_revoked (
    list_id TEXT NOT NULL,
    first_index BIGINT NOT NULL,
    length BIGINT NOT NULL,
    -- A random number for all that one revocation set.
    revocation BIGINT NOT NULL,
    PRIMARY KEY (list_id, first_index, length)
);
CREATE INDEX status_revoked_revocation ON status_revoked (revocation);

-- The place of the first access token of a family, and of the one that was given out beside a refresh token.
ALTER TABLE token_family ADD COLUMN status_list TEXT;
ALTER TABLE token_family ADD COLUMN status_index BIGINT;
ALTER TABLE refresh_token ADD COLUMN status_list TEXT;
ALTER TABLE refresh_token ADD COLUMN status_index BIGINT;
