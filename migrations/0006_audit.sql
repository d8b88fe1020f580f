-- The audit log: what happened to accounts, clients, tokens and nodes, each row bound to the one before it.

-- The newest row of the log. Its row lock puts the events of all instances into one order.
CREATE TABLE audit_head (
    id BIGINT PRIMARY KEY CHECK (id = 1),
    sequence BIGINT NOT NULL,
    hash TEXT NOT NULL
);
INSERT INTO audit_head (id, sequence, hash) VALUES (1, 0, '');

-- Written once, never changed.
CREATE TABLE audit_event (
    -- 1, 2, 3, … without a gap.
    sequence BIGINT PRIMARY KEY,
    occurred_at BIGINT NOT NULL,
    event TEXT NOT NULL,
    -- Who: client, user or operator.
    actor_type TEXT NOT NULL,
    -- The client's or person's id; NULL: an operator at the command line.
    actor TEXT,
    -- The person for whom it was done.
    on_behalf_of TEXT,
    -- What it was done to.
    target_type TEXT NOT NULL,
    target TEXT NOT NULL,
    -- The address that it was asked from; NULL: this machine.
    source TEXT,
    outcome TEXT NOT NULL,
    reason TEXT,
    -- What only this event has: a JSON object (RFC 8785).
    details TEXT NOT NULL,
    -- SHA-256, base64url; empty in the first row.
    previous_hash TEXT NOT NULL,
    hash TEXT NOT NULL
);
CREATE INDEX audit_event_name ON audit_event (event, sequence);
