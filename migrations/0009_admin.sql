-- The admin API: pages of long lists, and what a creation that is repeated was answered.

-- Lists are read from the oldest on, page by page.
CREATE INDEX client_created ON client (created_at, client_id);
CREATE INDEX client_origin_created ON client (origin, created_at, client_id);
CREATE INDEX client_name_created ON client (name, created_at, client_id);

-- Requests that carried an Idempotency-Key, and were carried out.
CREATE TABLE admin_request (
    -- SHA-256 of who asked and the key.
    request_hash BYTEA PRIMARY KEY,
    -- SHA-256 of what was asked: method, path and body.
    content_hash BYTEA NOT NULL,
    -- The answer, which may hold a secret: sealed under the master key. NULL only inside the transaction that makes it.
    answer_sealed BYTEA,
    expires_at BIGINT NOT NULL
);
CREATE INDEX admin_request_expires ON admin_request (expires_at);
CREATE INDEX resource_created ON resource (created_at, uri);
CREATE INDEX node_enrolled ON node (enrolled_at, client_id);
CREATE INDEX node_invite_created ON node_invite (created_at, invite_hash);
CREATE INDEX user_account_created ON user_account (created_at, user_id);
CREATE INDEX access_grant_created ON access_grant (created_at, grant_id);
CREATE INDEX access_grant_user_created ON access_grant (user_id, created_at, grant_id);
CREATE INDEX access_grant_client_created ON access_grant (client_id, created_at, grant_id);
CREATE INDEX token_family_user_created ON token_family (user_id, created_at, family_id);
CREATE INDEX token_family_client_created ON token_family (client_id, created_at, family_id);
CREATE INDEX audit_event_actor ON audit_event (actor, sequence);
CREATE INDEX audit_event_target ON audit_event (target, sequence);

-- What happened in a minute, of all instances together: tokens by grant, refusals by reason, answers. For a day.
CREATE TABLE tally (
    -- Unix seconds of its beginning.
    minute BIGINT NOT NULL,
    kind TEXT NOT NULL CHECK (kind IN ('issued', 'refused', 'answers', 'answer_micros')),
    name TEXT NOT NULL,
    count BIGINT NOT NULL,
    PRIMARY KEY (minute, kind, name)
);
