-- Every way a client can prove who it is, and what it proves possession of.

-- The rest of a client's metadata, as RFC 7591 §2 names it: a JSON object.
ALTER TABLE client ADD COLUMN details TEXT NOT NULL DEFAULT '{}';
-- Who vouches for it: an operator, nobody (it registered itself), or the owner of the address that is its client_id.
ALTER TABLE client ADD COLUMN origin TEXT NOT NULL DEFAULT 'operator' CHECK (origin IN ('operator', 'registration', 'document'));
-- To the day: who looks for dead clients need not know more, and no request writes for it twice a day.
ALTER TABLE client ADD COLUMN last_used_at BIGINT;
-- When a client that registered itself is forgotten unless somebody grants it something.
ALTER TABLE client ADD COLUMN expires_at BIGINT;
CREATE INDEX client_expires ON client (expires_at);

-- What may be shown once: assertions, DPoP proofs. The hash names kind, sender and jti.
CREATE TABLE used_proof (
    proof_hash BYTEA PRIMARY KEY,
    expires_at BIGINT NOT NULL
);
CREATE INDEX used_proof_expires ON used_proof (expires_at);

-- The key to which what comes of a code is bound before anybody redeems it (RFC 9449 §10): the thumbprint.
ALTER TABLE authorization_code ADD COLUMN dpop_jkt TEXT;
-- RFC 9396: a JSON list, as granted.
ALTER TABLE authorization_code ADD COLUMN authorization_details TEXT;
ALTER TABLE device_authorization ADD COLUMN authorization_details TEXT;
-- Whether the client proved who it is: strangers cannot take the places of those that do.
ALTER TABLE device_authorization ADD COLUMN is_proven BOOLEAN NOT NULL DEFAULT FALSE;
-- The types that a resource understands, separated by spaces.
ALTER TABLE resource ADD COLUMN authorization_details_types TEXT NOT NULL DEFAULT '';
ALTER TABLE token_family ADD COLUMN authorization_details TEXT;
-- RFC 7800 §3.1: the key to which the family's refresh tokens are bound, as JSON; NULL where the client authenticates.
ALTER TABLE token_family ADD COLUMN confirmation TEXT;

-- RFC 9126: requests that were pushed and wait for their person.
CREATE TABLE pushed_request (
    reference_hash BYTEA PRIMARY KEY,
    client_id TEXT NOT NULL,
    -- Of a client that proves nothing: strangers who know its id have places of their own.
    address TEXT NOT NULL,
    -- The parameters, form-encoded.
    content TEXT NOT NULL,
    created_at BIGINT NOT NULL,
    expires_at BIGINT NOT NULL,
    finished_at BIGINT
);
CREATE INDEX pushed_request_client ON pushed_request (client_id, expires_at);
CREATE INDEX pushed_request_expires ON pushed_request (expires_at);

-- RFC 7591 §3: what lets a stranger register, so many times.
CREATE TABLE initial_access_token (
    token_hash BYTEA PRIMARY KEY,
    -- What operators call it; not a secret.
    name TEXT NOT NULL UNIQUE,
    uses_left BIGINT NOT NULL,
    -- Whether its clients may have tokens without a person.
    may_act_alone BOOLEAN NOT NULL,
    created_at BIGINT NOT NULL,
    expires_at BIGINT NOT NULL,
    revoked_at BIGINT
);
-- RFC 7592 §3: what lets a client manage its own registration.
CREATE TABLE registration (
    client_id TEXT PRIMARY KEY REFERENCES client (client_id),
    token_hash BYTEA NOT NULL UNIQUE,
    -- As the invite said.
    may_act_alone BOOLEAN NOT NULL,
    -- Where it was made from, for operators who look.
    address TEXT NOT NULL,
    updated_at BIGINT NOT NULL
);

-- Client ID Metadata Documents: fetched ones in use, and those that an operator pinned.
CREATE TABLE client_document (
    client_id TEXT PRIMARY KEY REFERENCES client (client_id),
    content TEXT NOT NULL,
    -- Never fetched.
    is_pinned BOOLEAN NOT NULL,
    fetched_at BIGINT NOT NULL,
    fresh_until BIGINT NOT NULL
);
