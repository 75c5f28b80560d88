-- Corrections of invoices: late usage and what became of it, credit notes, disputed lines.

-- Up to which position of the log late usage was looked for.
CREATE TABLE late_positions (
    namespace TEXT PRIMARY KEY REFERENCES namespaces (name),
    position INTEGER NOT NULL
) STRICT, WITHOUT ROWID;

CREATE TABLE late_usage (
    rank INTEGER PRIMARY KEY AUTOINCREMENT,
    namespace TEXT NOT NULL,
    id TEXT NOT NULL,
    customer TEXT NOT NULL,
    subscription TEXT NOT NULL,
    period_start INTEGER NOT NULL,
    meter TEXT NOT NULL,
    status TEXT NOT NULL CHECK (status IN (
        'pending', 'held', 'adjusted', 'repriced', 'written_off', 'no_effect', 'credited')),
    by_invoice TEXT,
    document TEXT NOT NULL CHECK (json_valid(document)),
    UNIQUE (namespace, id),
    FOREIGN KEY (namespace, subscription) REFERENCES subscriptions (namespace, id)
) STRICT;

-- News of a meter in a period is one entry until something has become of it.
CREATE UNIQUE INDEX late_usage_open ON late_usage (namespace, subscription, period_start, meter)
WHERE status IN ('pending', 'held');
CREATE INDEX late_usage_by_status ON late_usage (namespace, status, rank);
CREATE INDEX late_usage_of_customer ON late_usage (namespace, customer, rank);
CREATE INDEX late_usage_of_period ON late_usage (namespace, subscription, period_start);
CREATE INDEX late_usage_by_invoice ON late_usage (by_invoice) WHERE by_invoice IS NOT NULL;

-- A credit note that waits for a second person has no number and no effect; once issued it is
-- immutable, as an invoice is.
CREATE TABLE credit_notes (
    rank INTEGER PRIMARY KEY AUTOINCREMENT,
    namespace TEXT NOT NULL,
    id TEXT NOT NULL,
    number TEXT,
    series_number INTEGER CHECK (series_number >= 1),
    invoice TEXT NOT NULL,
    customer TEXT NOT NULL,
    status TEXT NOT NULL CHECK (status IN ('pending', 'issued', 'rejected')),
    request TEXT NOT NULL CHECK (json_valid(request)),
    made_by TEXT NOT NULL,
    made_at INTEGER NOT NULL,
    decided_by TEXT,
    decided_at INTEGER,
    document BLOB,
    UNIQUE (namespace, id),
    UNIQUE (namespace, number),
    CHECK ((status = 'issued') = (number IS NOT NULL)),
    CHECK ((status = 'issued') = (document IS NOT NULL)),
    FOREIGN KEY (namespace, invoice) REFERENCES invoices (namespace, id)
) STRICT;

CREATE INDEX credit_notes_of_invoice ON credit_notes (namespace, invoice, rank);
CREATE INDEX credit_notes_of_customer ON credit_notes (namespace, customer, rank);

CREATE TRIGGER credit_notes_are_final_once_issued
BEFORE UPDATE ON credit_notes
WHEN OLD.status <> 'pending'
BEGIN
    SELECT RAISE(ABORT, 'an issued credit note is final');
END;

CREATE TRIGGER credit_notes_are_kept
BEFORE DELETE ON credit_notes
BEGIN
    SELECT RAISE(ABORT, 'credit notes are kept');
END;

CREATE TABLE disputes (
    rank INTEGER PRIMARY KEY AUTOINCREMENT,
    namespace TEXT NOT NULL,
    id TEXT NOT NULL,
    invoice TEXT NOT NULL,
    line TEXT NOT NULL,
    customer TEXT NOT NULL,
    status TEXT NOT NULL CHECK (status IN ('open', 'rejected', 'credited')),
    amount_minor INTEGER NOT NULL,
    reason TEXT NOT NULL,
    opened_by TEXT NOT NULL,
    opened_at INTEGER NOT NULL,
    note TEXT NOT NULL DEFAULT '',
    credit_note TEXT,
    resolved_by TEXT,
    resolved_at INTEGER,
    UNIQUE (namespace, id),
    FOREIGN KEY (namespace, invoice) REFERENCES invoices (namespace, id)
) STRICT;

CREATE UNIQUE INDEX disputes_open ON disputes (namespace, invoice, line) WHERE status = 'open';
CREATE INDEX disputes_of_invoice ON disputes (namespace, invoice);
