-- Rules that fired, each once, with what came of it; those with a review are the queue of reviews.

CREATE TABLE rule_fires (
    rank INTEGER PRIMARY KEY AUTOINCREMENT,
    namespace TEXT NOT NULL,
    id TEXT NOT NULL,
    rule TEXT NOT NULL,
    version INTEGER NOT NULL,
    seq INTEGER NOT NULL,
    customer TEXT NOT NULL,
    value TEXT NOT NULL,
    event TEXT NOT NULL,
    event_at INTEGER NOT NULL,
    at INTEGER NOT NULL,
    mode TEXT NOT NULL CHECK (mode IN ('on', 'dry_run')),
    observed TEXT,
    outcomes TEXT NOT NULL CHECK (json_valid(outcomes)),
    pending INTEGER NOT NULL CHECK (pending IN (0, 1)),
    review TEXT CHECK (review IN ('open', 'approved', 'dismissed')),
    reviewed_at INTEGER,
    reviewed_by TEXT,
    note TEXT,
    UNIQUE (namespace, rule, seq),
    UNIQUE (namespace, id)
) STRICT;

CREATE INDEX rule_fires_by_rule ON rule_fires (namespace, rule, rank);
CREATE INDEX rule_fires_by_customer ON rule_fires (namespace, customer, rank);
CREATE INDEX rule_fires_by_time ON rule_fires (namespace, at);
CREATE INDEX rule_fires_pending ON rule_fires (pending) WHERE pending = 1;
CREATE INDEX rule_fires_reviews ON rule_fires (namespace, review, rank) WHERE review IS NOT NULL;
