-- People: accounts, how they sign in, what they granted, and the codes and tokens that came of it.
-- Order of locks, everywhere: interaction, user_account, access_grant, authorization_code or device_authorization, token_family,
-- refresh_token.

-- Where the client's codes may be sent: a JSON list, exact strings (RFC 8252 loopback ports excepted).
ALTER TABLE client ADD COLUMN redirect_uris TEXT NOT NULL DEFAULT '[]';
-- The testing door: requests of this client are approved as this user without asking. Development only.
ALTER TABLE client ADD COLUMN approves_as TEXT;

CREATE TABLE user_account (
    user_id TEXT PRIMARY KEY,
    -- Lower case; what people type.
    username TEXT NOT NULL UNIQUE,
    display_name TEXT NOT NULL,
    email TEXT,
    is_admin BOOLEAN NOT NULL,
    -- A PHC string (Argon2id); NULL for people who sign in in another way only.
    password_hash TEXT,
    -- Sealed under the master key; NULL without a second factor. Not in force until it was confirmed once.
    totp_sealed BYTEA,
    totp_confirmed_at BIGINT,
    -- The newest time step that was used, so that no code works twice (RFC 6238 §5.2).
    totp_last_step BIGINT NOT NULL DEFAULT 0,
    created_at BIGINT NOT NULL,
    disabled_at BIGINT
);

CREATE TABLE recovery_code (
    code_hash BYTEA PRIMARY KEY,
    user_id TEXT NOT NULL REFERENCES user_account (user_id),
    created_at BIGINT NOT NULL,
    used_at BIGINT
);
CREATE INDEX recovery_code_user ON recovery_code (user_id);

CREATE TABLE passkey (
    -- base64url of the credential id (WebAuthn §4).
    credential_id TEXT PRIMARY KEY,
    user_id TEXT NOT NULL REFERENCES user_account (user_id),
    name TEXT NOT NULL,
    -- The public key and counter as the library keeps them, JSON.
    credential TEXT NOT NULL,
    created_at BIGINT NOT NULL,
    last_used_at BIGINT
);
CREATE INDEX passkey_user ON passkey (user_id);

-- Accounts elsewhere, linked by issuer and subject and nothing else (OpenID Connect Core §5.7).
CREATE TABLE federated_identity (
    issuer TEXT NOT NULL,
    subject TEXT NOT NULL,
    user_id TEXT NOT NULL REFERENCES user_account (user_id),
    created_at BIGINT NOT NULL,
    PRIMARY KEY (issuer, subject)
);
CREATE INDEX federated_identity_user ON federated_identity (user_id);

-- Links that work once: the first administrator's, and one that lets a person set a password.
CREATE TABLE one_time_link (
    link_hash BYTEA PRIMARY KEY,
    purpose TEXT NOT NULL CHECK (purpose IN ('first-admin', 'set-password')),
    user_id TEXT REFERENCES user_account (user_id),
    created_at BIGINT NOT NULL,
    expires_at BIGINT NOT NULL,
    used_at BIGINT
);
CREATE INDEX one_time_link_expires ON one_time_link (expires_at);

-- A browser that is signed in.
CREATE TABLE session (
    cookie_hash BYTEA PRIMARY KEY,
    -- What the account page and codes call it; not a secret.
    session_id TEXT NOT NULL UNIQUE,
    user_id TEXT NOT NULL REFERENCES user_account (user_id),
    -- How the person proved who they are, space separated (RFC 8176): pwd, otp, hwk, fed.
    methods TEXT NOT NULL,
    user_agent TEXT NOT NULL,
    address TEXT NOT NULL,
    authenticated_at BIGINT NOT NULL,
    last_seen_at BIGINT NOT NULL,
    expires_at BIGINT NOT NULL,
    ended_at BIGINT
);
CREATE INDEX session_of_user ON session (user_id);
CREATE INDEX session_expires ON session (expires_at);

-- What a browser has begun and not finished: an authorization request, a ceremony, a sign-in elsewhere.
CREATE TABLE interaction (
    interaction_id TEXT PRIMARY KEY,
    browser_hash BYTEA NOT NULL,
    kind TEXT NOT NULL CHECK (kind IN ('authorize', 'device', 'second-factor', 'passkey', 'upstream')),
    -- JSON, whatever the kind needs. Never leaves the server.
    content TEXT NOT NULL,
    started_at BIGINT NOT NULL,
    expires_at BIGINT NOT NULL,
    finished_at BIGINT
);
CREATE INDEX interaction_browser ON interaction (browser_hash, started_at);
CREATE INDEX interaction_expires ON interaction (expires_at);

-- One standing permission: this client, for this user, with these scopes, at this resource.
CREATE TABLE access_grant (
    grant_id TEXT PRIMARY KEY,
    user_id TEXT NOT NULL REFERENCES user_account (user_id),
    client_id TEXT NOT NULL REFERENCES client (client_id),
    resource TEXT NOT NULL,
    -- Everything granted so far; a step-up adds to it.
    scopes TEXT NOT NULL,
    -- What the person need not be asked for again: a part of scopes.
    remembered_scopes TEXT NOT NULL,
    created_at BIGINT NOT NULL,
    updated_at BIGINT NOT NULL,
    -- NULL: until revoked.
    expires_at BIGINT,
    revoked_at BIGINT
);
CREATE UNIQUE INDEX access_grant_live ON access_grant (user_id, client_id, resource) WHERE revoked_at IS NULL;
CREATE INDEX access_grant_user ON access_grant (user_id);
CREATE INDEX access_grant_client ON access_grant (client_id);

CREATE TABLE authorization_code (
    code_hash BYTEA PRIMARY KEY,
    grant_id TEXT NOT NULL REFERENCES access_grant (grant_id),
    client_id TEXT NOT NULL,
    user_id TEXT NOT NULL,
    redirect_uri TEXT NOT NULL,
    -- S256 (RFC 7636 §4.2).
    code_challenge TEXT NOT NULL,
    resource TEXT NOT NULL,
    scopes TEXT NOT NULL,
    nonce TEXT,
    -- The session in which it was approved; NULL through the testing door.
    session_id TEXT,
    auth_time BIGINT NOT NULL,
    methods TEXT NOT NULL,
    created_at BIGINT NOT NULL,
    expires_at BIGINT NOT NULL,
    -- Wrong verifiers so far.
    failures BIGINT NOT NULL DEFAULT 0,
    redeemed_at BIGINT,
    family_id TEXT
);
CREATE INDEX authorization_code_expires ON authorization_code (expires_at);
CREATE INDEX authorization_code_grant ON authorization_code (grant_id);

-- Everything that came of one code: access tokens carry its id in their jti, refresh tokens point to it.
CREATE TABLE token_family (
    family_id TEXT PRIMARY KEY,
    grant_id TEXT NOT NULL REFERENCES access_grant (grant_id),
    client_id TEXT NOT NULL,
    user_id TEXT NOT NULL,
    resource TEXT NOT NULL,
    scopes TEXT NOT NULL,
    auth_time BIGINT NOT NULL,
    methods TEXT NOT NULL,
    nonce TEXT,
    created_at BIGINT NOT NULL,
    last_used_at BIGINT NOT NULL,
    -- Rotation never moves it.
    expires_at BIGINT NOT NULL,
    revoked_at BIGINT,
    revoked_for TEXT
);
CREATE INDEX token_family_grant ON token_family (grant_id);
CREATE INDEX token_family_expires ON token_family (expires_at);

CREATE TABLE refresh_token (
    token_hash BYTEA PRIMARY KEY,
    family_id TEXT NOT NULL REFERENCES token_family (family_id),
    created_at BIGINT NOT NULL,
    -- Idle end: when nobody has used it by then.
    expires_at BIGINT NOT NULL,
    replaced_at BIGINT,
    successor_hash BYTEA,
    -- The successor, under a key that only this token's text gives: for an answer that was lost.
    successor_sealed BYTEA
);
CREATE INDEX refresh_token_family ON refresh_token (family_id);
CREATE INDEX refresh_token_successor ON refresh_token (successor_hash);

-- RFC 8628.
CREATE TABLE device_authorization (
    device_code_hash BYTEA PRIMARY KEY,
    -- Without the dash.
    user_code TEXT NOT NULL UNIQUE,
    client_id TEXT NOT NULL,
    resource TEXT NOT NULL,
    scopes TEXT NOT NULL,
    -- Where the device is, as far as we can see.
    address TEXT NOT NULL,
    user_agent TEXT NOT NULL,
    state TEXT NOT NULL CHECK (state IN ('pending', 'approved', 'denied', 'redeemed')),
    -- Seconds between two polls; slow_down adds to it.
    poll_interval BIGINT NOT NULL,
    last_polled_at BIGINT NOT NULL DEFAULT 0,
    grant_id TEXT,
    user_id TEXT,
    session_id TEXT,
    auth_time BIGINT,
    methods TEXT,
    family_id TEXT,
    created_at BIGINT NOT NULL,
    expires_at BIGINT NOT NULL
);
CREATE INDEX device_authorization_expires ON device_authorization (expires_at);
