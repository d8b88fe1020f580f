-- An exchanged token ends with every token that it came of: the one that was shown, and that of whoever acts.

-- The table is written anew. It is renamed first: whoever writes to it meanwhile waits, and then writes to the new one
-- (docs/decisions/0007).
ALTER TABLE status_heir RENAME TO status_heir_of_one;
CREATE TABLE status_heir (
    list_id TEXT NOT NULL,
    status_index BIGINT NOT NULL,
    -- One of those that it came of; empty when it rests on a grant alone.
    parent_list TEXT NOT NULL,
    parent_index BIGINT NOT NULL,
    -- The grant by which the person agreed to the exchange.
    grant_id TEXT,
    PRIMARY KEY (list_id, status_index, parent_list, parent_index)
);
INSERT INTO status_heir (list_id, status_index, parent_list, parent_index, grant_id)
    SELECT list_id, status_index, parent_list, parent_index, grant_id FROM status_heir_of_one;
DROP TABLE status_heir_of_one;
CREATE INDEX status_heir_parent ON status_heir (parent_list, parent_index);
CREATE INDEX status_heir_grant ON status_heir (grant_id);
