-- Invoices that bill several periods, are reviewed, and are numbered in several series.

-- A number is taken and used in one transaction, so no series has a gap.
CREATE TABLE number_series (
    namespace TEXT NOT NULL REFERENCES namespaces (name),
    series TEXT NOT NULL,
    last INTEGER NOT NULL DEFAULT 0,
    PRIMARY KEY (namespace, series)
) STRICT, WITHOUT ROWID;

CREATE TRIGGER numbers_count_up_by_one
BEFORE UPDATE ON number_series
WHEN NEW.last <> OLD.last + 1
BEGIN
    SELECT RAISE(ABORT, 'numbers of a series count up by one');
END;

INSERT INTO number_series (namespace, series, last)
SELECT name, 'INV-', last_invoice_number FROM namespaces WHERE last_invoice_number > 0;

DROP TRIGGER invoice_numbers_count_up_by_one;
ALTER TABLE namespaces DROP COLUMN last_invoice_number;

CREATE TABLE invoices_2 (
    rank INTEGER PRIMARY KEY, -- order of creation, by which lists are paged
    namespace TEXT NOT NULL,
    id TEXT NOT NULL,
    series TEXT,
    series_number INTEGER CHECK (series_number >= 1),
    number TEXT,
    customer TEXT NOT NULL,
    subscription TEXT NOT NULL,
    status TEXT NOT NULL
        CHECK (status IN ('draft', 'in_review', 'issued', 'paid', 'uncollectible', 'void')),
    period_start INTEGER NOT NULL,
    period_end INTEGER NOT NULL CHECK (period_end >= period_start),
    created_at INTEGER NOT NULL,
    document BLOB NOT NULL,
    review TEXT CHECK (review IS NULL OR json_valid(review)),
    UNIQUE (namespace, id),
    UNIQUE (namespace, series, series_number),
    UNIQUE (namespace, number),
    CHECK ((series IS NULL) = (number IS NULL)),
    CHECK ((series IS NULL) = (series_number IS NULL)),
    CHECK (CASE WHEN status IN ('draft', 'in_review') THEN number IS NULL
                WHEN status = 'void' THEN TRUE
                ELSE number IS NOT NULL END),
    FOREIGN KEY (namespace, customer) REFERENCES customers (namespace, key),
    FOREIGN KEY (namespace, subscription) REFERENCES subscriptions (namespace, id)
) STRICT;

INSERT INTO invoices_2
SELECT rank, namespace, id, CASE WHEN series IS NULL THEN NULL ELSE 'INV-' END, series, number,
       customer, subscription, status, period_start, period_end, created_at, document, NULL
FROM invoices;

-- No period is billed twice: whoever comes second finds the first one's invoice. The start alone
-- names a period, so that one whose end moved (a cancellation) is still the same period. `part` is
-- "period", or what was billed of it before its end.
CREATE TABLE billed_periods (
    namespace TEXT NOT NULL,
    subscription TEXT NOT NULL,
    period_start INTEGER NOT NULL,
    part TEXT NOT NULL,
    period_end INTEGER NOT NULL,
    invoice TEXT NOT NULL,
    PRIMARY KEY (namespace, subscription, period_start, part)
) STRICT, WITHOUT ROWID;

INSERT INTO billed_periods
SELECT namespace, subscription, period_start, 'period', period_end, id
FROM invoices WHERE status <> 'void';

CREATE INDEX periods_billed_by_invoice ON billed_periods (namespace, invoice);

DROP TRIGGER invoices_are_kept;
DROP TABLE invoices;
ALTER TABLE invoices_2 RENAME TO invoices;

CREATE INDEX invoices_of_customer ON invoices (namespace, customer, rank);
CREATE INDEX invoices_by_status ON invoices (namespace, status, rank);

CREATE TRIGGER invoices_keep_what_they_bill
BEFORE UPDATE ON invoices
WHEN (NEW.rank, NEW.namespace, NEW.id, NEW.customer, NEW.subscription, NEW.created_at)
    IS NOT (OLD.rank, OLD.namespace, OLD.id, OLD.customer, OLD.subscription, OLD.created_at)
BEGIN
    SELECT RAISE(ABORT, 'an invoice keeps its id and customer');
END;

CREATE TRIGGER invoices_are_final_once_issued
BEFORE UPDATE ON invoices
WHEN OLD.status NOT IN ('draft', 'in_review') AND (
    NEW.document IS NOT OLD.document
    OR NEW.number IS NOT OLD.number
    OR NEW.period_start <> OLD.period_start
    OR NEW.period_end <> OLD.period_end
    OR NEW.series IS NOT OLD.series
    OR NEW.series_number IS NOT OLD.series_number
    OR NEW.status IN ('draft', 'in_review')
    OR (OLD.status = 'void' AND NEW.status <> 'void')
)
BEGIN
    SELECT RAISE(ABORT, 'an issued invoice is final');
END;

CREATE TRIGGER invoices_are_kept
BEFORE DELETE ON invoices
BEGIN
    SELECT RAISE(ABORT, 'invoices are kept');
END;
