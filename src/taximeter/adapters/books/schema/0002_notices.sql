-- Notices: what was told, to whom, and how far it has come.

CREATE TABLE alerts (
    namespace TEXT NOT NULL,
    id TEXT NOT NULL,
    document TEXT NOT NULL CHECK (json_valid(document)),
    created_at INTEGER NOT NULL,
    PRIMARY KEY (namespace, id)
) STRICT, WITHOUT ROWID;

-- Lines that rearm: how often each was crossed, and whether it is crossed now. They outlive their
-- alert, so that one made again under the same id goes on counting and never repeats a key.
CREATE TABLE alert_marks (
    namespace TEXT NOT NULL,
    alert TEXT NOT NULL,
    customer TEXT NOT NULL,
    name TEXT NOT NULL,
    threshold TEXT NOT NULL,
    times INTEGER NOT NULL CHECK (times >= 1),
    past INTEGER NOT NULL CHECK (past IN (0, 1)),
    PRIMARY KEY (namespace, alert, customer, name, threshold)
) STRICT, WITHOUT ROWID;

-- The document holds the endpoint's secrets: they sign, so a digest of them would not do.
CREATE TABLE webhooks (
    namespace TEXT NOT NULL,
    id TEXT NOT NULL,
    document TEXT NOT NULL CHECK (json_valid(document)),
    failing_since INTEGER,
    PRIMARY KEY (namespace, id)
) STRICT, WITHOUT ROWID;

CREATE TABLE notices (
    rank INTEGER PRIMARY KEY AUTOINCREMENT, -- order of storing, by which lists are paged
    namespace TEXT NOT NULL,
    id TEXT NOT NULL,
    key TEXT NOT NULL,
    type TEXT NOT NULL,
    customer TEXT,
    at INTEGER NOT NULL,
    payload BLOB NOT NULL,
    UNIQUE (namespace, id),
    -- The rule that each thing is told once.
    UNIQUE (namespace, key)
) STRICT;

CREATE INDEX notices_of_customer ON notices (namespace, customer, rank);

CREATE TRIGGER notices_are_immutable
BEFORE UPDATE ON notices
BEGIN
    SELECT RAISE(ABORT, 'a notice never changes');
END;

CREATE TABLE deliveries (
    rank INTEGER PRIMARY KEY AUTOINCREMENT,
    id TEXT NOT NULL UNIQUE,
    namespace TEXT NOT NULL,
    channel TEXT NOT NULL CHECK (channel IN ('webhook', 'email')),
    target TEXT NOT NULL,
    notice TEXT NOT NULL,
    status TEXT NOT NULL CHECK (status IN ('pending', 'delivered', 'failed')),
    created_at INTEGER NOT NULL,
    failures INTEGER NOT NULL DEFAULT 0,
    next_at INTEGER,
    resolved_at INTEGER,
    UNIQUE (namespace, notice, channel, target),
    CHECK ((status = 'pending') = (next_at IS NOT NULL)),
    CHECK ((status = 'pending') = (resolved_at IS NULL)),
    FOREIGN KEY (namespace, notice) REFERENCES notices (namespace, id)
) STRICT;

CREATE INDEX deliveries_due ON deliveries (namespace, channel, target, next_at)
WHERE status = 'pending';
CREATE INDEX deliveries_of_receiver ON deliveries (namespace, channel, target, rank);
CREATE INDEX deliveries_by_age ON deliveries (resolved_at) WHERE resolved_at IS NOT NULL;

CREATE TABLE attempts (
    rank INTEGER PRIMARY KEY,
    delivery TEXT NOT NULL REFERENCES deliveries (id) ON DELETE CASCADE,
    at INTEGER NOT NULL,
    duration_ms INTEGER NOT NULL,
    status INTEGER,
    error TEXT,
    response TEXT NOT NULL
) STRICT;

CREATE INDEX attempts_of_delivery ON attempts (delivery, rank);
