-- The life of a signing key: published ahead of time, signing, kept for as long as anything that it signed counts.

-- The table is written anew. It is renamed first: whoever writes to it meanwhile waits, and then writes to the new one
-- (docs/decisions/0007).
ALTER TABLE signing_key RENAME TO signing_key_of_two_states;
DROP INDEX signing_key_current;
CREATE TABLE signing_key (
    kid TEXT PRIMARY KEY,
    alg TEXT NOT NULL CHECK (alg IN ('EdDSA', 'RS256', 'ES256')),
    state TEXT NOT NULL CHECK (state IN ('next', 'current', 'retired')),
    -- AES-256-GCM under the master key: nonce, then ciphertext.
    sealed_jwk BYTEA NOT NULL,
    created_at BIGINT NOT NULL,
    -- Of the next one: when it may begin to sign. Of others: when it began.
    signs_from BIGINT NOT NULL,
    -- Nothing that it has signed counts for longer, in seconds.
    longest_life BIGINT NOT NULL,
    -- Of a retired one: when the last of what it signed is over.
    ends_at BIGINT
);
INSERT INTO signing_key (kid, alg, state, sealed_jwk, created_at, signs_from, longest_life, ends_at)
    SELECT kid, alg, state, sealed_jwk, created_at, created_at,
        86400 + COALESCE((SELECT MAX(access_ttl) FROM resource), 0), NULL
    FROM signing_key_of_two_states;
DROP TABLE signing_key_of_two_states;
-- Never two keys that sign for one algorithm, nor two that wait.
CREATE UNIQUE INDEX signing_key_current ON signing_key (alg) WHERE state = 'current';
CREATE UNIQUE INDEX signing_key_next ON signing_key (alg) WHERE state = 'next';
