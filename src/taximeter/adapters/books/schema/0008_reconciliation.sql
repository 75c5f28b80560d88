-- What clients say they have sent, to be compared with what was accepted.

CREATE TABLE sent_counts (
    namespace TEXT NOT NULL REFERENCES namespaces (name),
    source TEXT NOT NULL,
    type TEXT NOT NULL,
    period_start INTEGER NOT NULL,
    period_end INTEGER NOT NULL CHECK (period_end > period_start),
    events INTEGER NOT NULL CHECK (events >= 0),
    reported_at INTEGER NOT NULL,
    PRIMARY KEY (namespace, source, type, period_start, period_end)
) STRICT, WITHOUT ROWID;

CREATE INDEX sent_counts_by_age ON sent_counts (period_end);
