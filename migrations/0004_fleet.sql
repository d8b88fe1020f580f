-- Nodes: what invites them, who has enrolled, and what people are asked about calls of their tools.

-- What lets one node enrol, once.
CREATE TABLE node_invite (
    invite_hash BYTEA PRIMARY KEY,
    -- What the node is to be called; NULL leaves it to the node.
    name TEXT,
    -- The resource that it is to serve; NULL: one that is not registered yet.
    resource TEXT,
    -- The client of the node whose place it takes.
    replaces TEXT,
    -- Further scopes of its client, separated by spaces.
    scopes TEXT NOT NULL,
    -- The client of the node that asked for it; NULL: an operator.
    asked_by TEXT,
    created_at BIGINT NOT NULL,
    expires_at BIGINT NOT NULL,
    used_at BIGINT,
    -- The client of the node that enrolled with it: the same node may ask again for an answer that was lost.
    used_by TEXT
);
CREATE INDEX node_invite_expires ON node_invite (expires_at);

-- An enrolment: a key, and the client and resource that it became. Enrolling again makes another row.
CREATE TABLE node (
    client_id TEXT PRIMARY KEY REFERENCES client (client_id),
    -- Both follow from the key.
    node_id TEXT NOT NULL,
    thumbprint TEXT NOT NULL,
    -- The public key, JSON.
    jwk TEXT NOT NULL,
    name TEXT NOT NULL,
    -- As registered.
    resource TEXT NOT NULL,
    -- Separated by spaces.
    capabilities TEXT NOT NULL,
    version TEXT,
    enrolled_at BIGINT NOT NULL,
    ended_at BIGINT,
    -- A key of a node that was revoked comes back by an operator's decision only.
    ended_by TEXT CHECK (ended_by IN ('revoked', 'replaced'))
);
CREATE UNIQUE INDEX node_living_id ON node (node_id) WHERE ended_at IS NULL;
CREATE UNIQUE INDEX node_living_key ON node (thumbprint) WHERE ended_at IS NULL;
CREATE UNIQUE INDEX node_living_resource ON node (resource) WHERE ended_at IS NULL;
CREATE INDEX node_key ON node (thumbprint);
CREATE INDEX node_name ON node (node_id);

-- May this call run? Asked by a node, answered by a person.
CREATE TABLE approval (
    approval_id TEXT PRIMARY KEY,
    -- What the node asks about the answer with.
    poll_hash BYTEA NOT NULL,
    -- The client of the node.
    node_client TEXT NOT NULL REFERENCES client (client_id),
    tool TEXT NOT NULL,
    summary TEXT NOT NULL,
    -- What the person sees: a JSON object.
    arguments TEXT NOT NULL,
    arguments_sha256 TEXT NOT NULL,
    caller_iss TEXT NOT NULL,
    caller_sub TEXT NOT NULL,
    caller_client TEXT NOT NULL,
    resource TEXT NOT NULL,
    -- The one person who may answer; NULL: any administrator.
    user_id TEXT,
    created_at BIGINT NOT NULL,
    expires_at BIGINT NOT NULL,
    decision TEXT CHECK (decision IN ('approved', 'denied')),
    decided_at BIGINT,
    decided_by TEXT,
    -- When it let a node make an invite, which works once.
    used_at BIGINT
);
CREATE INDEX approval_expires ON approval (expires_at);
CREATE INDEX approval_node ON approval (node_client, expires_at);

-- A browser that is to sign in before it answers: one word more for `kind`. Neither database can change a CHECK in the
-- same words, so the table is written anew.
CREATE TABLE interaction_with_approval (
    interaction_id TEXT PRIMARY KEY,
    browser_hash BYTEA NOT NULL,
    kind TEXT NOT NULL CHECK (kind IN ('authorize', 'device', 'second-factor', 'passkey', 'upstream', 'approval')),
    content TEXT NOT NULL,
    started_at BIGINT NOT NULL,
    expires_at BIGINT NOT NULL,
    finished_at BIGINT
);
INSERT INTO interaction_with_approval (interaction_id, browser_hash, kind, content, started_at, expires_at, finished_at)
    SELECT interaction_id, browser_hash, kind, content, started_at, expires_at, finished_at FROM interaction;
DROP TABLE interaction;
ALTER TABLE interaction_with_approval RENAME TO interaction;
CREATE INDEX interaction_browser ON interaction (browser_hash, started_at);
CREATE INDEX interaction_expires ON interaction (expires_at);
