-- What each node told of itself last: written with every report, and forgotten some minutes after the node's end.
CREATE TABLE node_contact (
    client_id TEXT PRIMARY KEY REFERENCES node (client_id),
    heard_at BIGINT NOT NULL,
    -- The address that the report came from.
    source TEXT NOT NULL,
    -- What it said, a JSON object.
    report TEXT NOT NULL,
    -- When the alert was raised that it has been silent since; NULL: there was none.
    told_at BIGINT
);
CREATE INDEX node_contact_heard ON node_contact (heard_at);
