-- What somebody is to be told at once: kept until the webhook has taken it, and a while longer so that it is told once.
CREATE TABLE alert (
    -- What it is about, and in which hour: two instances that see the same raise one.
    alert_id TEXT PRIMARY KEY,
    -- What it is about: told once an hour.
    topic TEXT NOT NULL,
    -- A JSON object, as it is sent.
    body TEXT NOT NULL,
    raised_at BIGINT NOT NULL,
    -- Nobody sends it before: whoever does sets it ahead first.
    next_try_at BIGINT NOT NULL,
    tries BIGINT NOT NULL,
    sent_at BIGINT
);
CREATE INDEX alert_raised ON alert (raised_at);
CREATE INDEX alert_topic ON alert (topic, raised_at);
