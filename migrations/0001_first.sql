-- One text for Postgres and SQLite: TEXT, BIGINT (seconds since 1970, UTC), BYTEA (SQLite keeps it as a blob), JSON as TEXT.
-- A migration that has been released is never edited; a new one must leave the previous release able to run.

-- The issuer this data belongs to. Every client stores it, so it can never change.
CREATE TABLE deployment (
    id BIGINT PRIMARY KEY CHECK (id = 1),
    issuer TEXT NOT NULL,
    created_at BIGINT NOT NULL
);

-- The number of the newest change. Its row lock puts the changes of all instances into one order.
CREATE TABLE change_head (
    id BIGINT PRIMARY KEY CHECK (id = 1),
    sequence BIGINT NOT NULL
);
INSERT INTO change_head (id, sequence) VALUES (1, 0);

-- What instances may have in memory and must forget or learn before they answer the next request.
CREATE TABLE change (
    sequence BIGINT PRIMARY KEY,
    noun TEXT NOT NULL CHECK (noun IN ('client', 'resource', 'key', 'token')),
    subject TEXT NOT NULL,
    changed_at BIGINT NOT NULL
);

CREATE TABLE client (
    client_id TEXT PRIMARY KEY,
    name TEXT NOT NULL,
    client_type TEXT NOT NULL CHECK (client_type IN ('ai-agent', 'service', 'native', 'web')),
    -- Space separated, as RFC 7591 names them; 'none' is a public client.
    auth_methods TEXT NOT NULL,
    grants TEXT NOT NULL,
    scopes TEXT NOT NULL,
    -- A JSON list of registered resources; empty means any.
    resources TEXT NOT NULL,
    created_at BIGINT NOT NULL,
    -- Tokens issued before this second are refused.
    tokens_not_before BIGINT NOT NULL DEFAULT 0,
    revoked_at BIGINT
);

CREATE TABLE client_secret (
    secret_hash BYTEA PRIMARY KEY,
    client_id TEXT NOT NULL REFERENCES client (client_id),
    created_at BIGINT NOT NULL,
    expires_at BIGINT
);
CREATE INDEX client_secret_client ON client_secret (client_id);

CREATE TABLE resource (
    uri TEXT PRIMARY KEY,
    -- The form under which different spellings meet.
    lookup_key TEXT NOT NULL UNIQUE,
    name TEXT NOT NULL,
    scopes TEXT NOT NULL,
    alg TEXT NOT NULL CHECK (alg IN ('EdDSA', 'RS256', 'ES256')),
    access_ttl BIGINT NOT NULL CHECK (access_ttl > 0),
    -- The client as which the resource server asks about its tokens (RFC 7662).
    client_id TEXT REFERENCES client (client_id),
    created_at BIGINT NOT NULL
);

CREATE TABLE signing_key (
    kid TEXT PRIMARY KEY,
    alg TEXT NOT NULL CHECK (alg IN ('EdDSA', 'RS256', 'ES256')),
    state TEXT NOT NULL CHECK (state IN ('current', 'retired')),
    -- AES-256-GCM under the master key: nonce, then ciphertext.
    sealed_jwk BYTEA NOT NULL,
    created_at BIGINT NOT NULL
);
-- Never two keys that sign for one algorithm.
CREATE UNIQUE INDEX signing_key_current ON signing_key (alg) WHERE state = 'current';

-- Access tokens are not stored; only those that were taken back, until they would have expired.
CREATE TABLE revoked_token (
    token_id TEXT PRIMARY KEY,
    client_id TEXT NOT NULL,
    expires_at BIGINT NOT NULL,
    revoked_at BIGINT NOT NULL
);
CREATE INDEX revoked_token_expires ON revoked_token (expires_at);
