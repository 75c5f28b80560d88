-- Corrections of events and imports of history, with who made them and why. What they did is in the
-- log; a part of a backfill holds its events until they are there.

CREATE TABLE corrections (
    rank INTEGER PRIMARY KEY AUTOINCREMENT,
    namespace TEXT NOT NULL,
    id TEXT NOT NULL,
    status TEXT NOT NULL
        CHECK (status IN ('pending', 'rejected', 'committing', 'committed', 'reverted')),
    document TEXT NOT NULL CHECK (json_valid(document)),
    seqs TEXT NOT NULL CHECK (json_valid(seqs)),
    UNIQUE (namespace, id)
) STRICT;

CREATE INDEX corrections_by_status ON corrections (namespace, status, rank);

CREATE TABLE backfills (
    rank INTEGER PRIMARY KEY AUTOINCREMENT,
    namespace TEXT NOT NULL,
    id TEXT NOT NULL,
    status TEXT NOT NULL
        CHECK (status IN ('open', 'committing', 'committed', 'reverting', 'reverted')),
    document TEXT NOT NULL CHECK (json_valid(document)),
    UNIQUE (namespace, id)
) STRICT;

CREATE INDEX backfills_unfinished ON backfills (status) WHERE status IN ('committing', 'reverting');

CREATE TABLE backfill_parts (
    namespace TEXT NOT NULL,
    backfill TEXT NOT NULL,
    number INTEGER NOT NULL,
    received_at INTEGER NOT NULL,
    events INTEGER NOT NULL,
    body BLOB NOT NULL,
    sent_from INTEGER,
    spans TEXT CHECK (spans IS NULL OR json_valid(spans)),
    PRIMARY KEY (namespace, backfill, number),
    FOREIGN KEY (namespace, backfill) REFERENCES backfills (namespace, id)
) STRICT;
