-- Money owed, paid and earned: the journal, and what follows from it (K19).

CREATE TABLE journal_entries (
    rank INTEGER PRIMARY KEY AUTOINCREMENT,
    namespace TEXT NOT NULL REFERENCES namespaces (name),
    id TEXT NOT NULL,
    at INTEGER NOT NULL,          -- the instant it belongs to, never in a closed month
    recorded_at INTEGER NOT NULL, -- when it was written
    kind TEXT NOT NULL,
    customer TEXT NOT NULL,
    currency TEXT NOT NULL,
    invoice TEXT,
    source TEXT,
    cause TEXT NOT NULL CHECK (json_valid(cause)),
    UNIQUE (namespace, id),
    FOREIGN KEY (namespace, customer) REFERENCES customers (namespace, key)
) STRICT;

CREATE INDEX journal_entries_by_time ON journal_entries (namespace, at, rank);
CREATE INDEX journal_entries_by_customer ON journal_entries (namespace, customer, at);
CREATE INDEX journal_entries_by_invoice ON journal_entries (namespace, invoice)
WHERE invoice IS NOT NULL;
CREATE INDEX journal_entries_by_source ON journal_entries (namespace, source)
WHERE source IS NOT NULL;

CREATE TRIGGER journal_entries_are_immutable BEFORE UPDATE ON journal_entries
BEGIN
    SELECT RAISE(ABORT, 'the journal is append-only');
END;

CREATE TRIGGER journal_entries_are_kept BEFORE DELETE ON journal_entries
BEGIN
    SELECT RAISE(ABORT, 'the journal is append-only');
END;

-- Debits are positive, credits negative. Beside the amount, what sums are asked by.
CREATE TABLE journal_postings (
    entry INTEGER NOT NULL REFERENCES journal_entries (rank),
    account TEXT NOT NULL,
    amount_minor INTEGER NOT NULL CHECK (amount_minor <> 0),
    namespace TEXT NOT NULL,
    customer TEXT NOT NULL,
    currency TEXT NOT NULL,
    invoice TEXT,
    source TEXT,
    at INTEGER NOT NULL,
    PRIMARY KEY (entry, account)
) STRICT, WITHOUT ROWID;

CREATE INDEX journal_postings_by_account
ON journal_postings (namespace, account, currency, at, amount_minor);
CREATE INDEX journal_postings_by_invoice
ON journal_postings (namespace, invoice, account, at, amount_minor) WHERE invoice IS NOT NULL;

CREATE TRIGGER journal_postings_are_immutable BEFORE UPDATE ON journal_postings
BEGIN
    SELECT RAISE(ABORT, 'the journal is append-only');
END;

CREATE TRIGGER journal_postings_are_kept BEFORE DELETE ON journal_postings
BEGIN
    SELECT RAISE(ABORT, 'the journal is append-only');
END;

-- Every issued invoice. The sums follow the journal by themselves; that nothing is paid twice is
-- checked here, whatever the code above does.
CREATE TABLE receivables (
    namespace TEXT NOT NULL,
    invoice TEXT NOT NULL,
    number TEXT NOT NULL,
    customer TEXT NOT NULL,
    currency TEXT NOT NULL,
    issued_at INTEGER NOT NULL,
    issued_on TEXT NOT NULL, -- the same as a day of the customer's calendar
    due_at INTEGER NOT NULL,
    open_minor INTEGER NOT NULL DEFAULT 0 CHECK (open_minor >= 0),
    lost_minor INTEGER NOT NULL DEFAULT 0 CHECK (lost_minor >= 0),
    deferred_minor INTEGER NOT NULL DEFAULT 0,
    recognised_minor INTEGER NOT NULL DEFAULT 0,
    services TEXT NOT NULL CHECK (json_valid(services)), -- what it is earned by; behind credit notes
    reminded INTEGER NOT NULL DEFAULT 0,
    PRIMARY KEY (namespace, invoice),
    FOREIGN KEY (namespace, invoice) REFERENCES invoices (namespace, id)
) STRICT, WITHOUT ROWID;

CREATE INDEX receivables_open ON receivables (namespace, customer, currency, due_at)
WHERE open_minor > 0;
CREATE INDEX receivables_due ON receivables (namespace, due_at) WHERE open_minor > 0;
CREATE INDEX receivables_unearned ON receivables (namespace) WHERE deferred_minor <> 0;

-- Money of customers that no invoice has used yet, by where it came from, oldest first.
CREATE TABLE customer_balances (
    rank INTEGER PRIMARY KEY,
    namespace TEXT NOT NULL,
    source TEXT NOT NULL,
    customer TEXT NOT NULL,
    currency TEXT NOT NULL,
    left_minor INTEGER NOT NULL CHECK (left_minor >= 0),
    UNIQUE (namespace, source)
) STRICT;

CREATE INDEX customer_balances_left ON customer_balances (namespace, customer, currency, rank)
WHERE left_minor > 0;

CREATE TRIGGER postings_open_receivables AFTER INSERT ON journal_postings
WHEN NEW.account = 'receivable'
BEGIN
    UPDATE receivables SET open_minor = open_minor + NEW.amount_minor
    WHERE namespace = NEW.namespace AND invoice = NEW.invoice;
END;

CREATE TRIGGER postings_lose_receivables AFTER INSERT ON journal_postings
WHEN NEW.account = 'write_off'
BEGIN
    UPDATE receivables SET lost_minor = lost_minor + NEW.amount_minor
    WHERE namespace = NEW.namespace AND invoice = NEW.invoice;
END;

CREATE TRIGGER postings_defer_revenue AFTER INSERT ON journal_postings
WHEN NEW.account = 'deferred_revenue'
BEGIN
    UPDATE receivables SET deferred_minor = deferred_minor + NEW.amount_minor
    WHERE namespace = NEW.namespace AND invoice = NEW.invoice;
END;

CREATE TRIGGER postings_recognise_revenue AFTER INSERT ON journal_postings
WHEN NEW.account = 'revenue'
BEGIN
    UPDATE receivables SET recognised_minor = recognised_minor - NEW.amount_minor
    WHERE namespace = NEW.namespace AND invoice = NEW.invoice;
END;

CREATE TRIGGER postings_fill_customer_balances AFTER INSERT ON journal_postings
WHEN NEW.account = 'customer_balance'
BEGIN
    INSERT INTO customer_balances (namespace, source, customer, currency, left_minor)
    SELECT NEW.namespace, NEW.source, NEW.customer, NEW.currency, 0
    WHERE NOT EXISTS (
        SELECT 1 FROM customer_balances WHERE namespace = NEW.namespace AND source = NEW.source
    );
    UPDATE customer_balances SET left_minor = left_minor - NEW.amount_minor
    WHERE namespace = NEW.namespace AND source = NEW.source;
END;

-- Months of the books that are closed: nothing is dated in them any more.
CREATE TABLE closed_months (
    namespace TEXT NOT NULL REFERENCES namespaces (name),
    month TEXT NOT NULL CHECK (month GLOB '[0-9][0-9][0-9][0-9]-[0-1][0-9]'),
    end_at INTEGER NOT NULL,
    closed_at INTEGER NOT NULL,
    PRIMARY KEY (namespace, month)
) STRICT, WITHOUT ROWID;

CREATE TRIGGER closed_months_stay_closed BEFORE DELETE ON closed_months
BEGIN
    SELECT RAISE(ABORT, 'a closed month stays closed');
END;

CREATE TABLE payments (
    rank INTEGER PRIMARY KEY AUTOINCREMENT,
    namespace TEXT NOT NULL,
    id TEXT NOT NULL,
    customer TEXT NOT NULL,
    currency TEXT NOT NULL,
    amount_minor INTEGER NOT NULL CHECK (amount_minor > 0),
    at INTEGER NOT NULL,
    reference TEXT NOT NULL,
    origin TEXT NOT NULL,
    recorded_at INTEGER NOT NULL,
    reversed_at INTEGER,
    reason TEXT NOT NULL DEFAULT '',
    UNIQUE (namespace, id),
    FOREIGN KEY (namespace, customer) REFERENCES customers (namespace, key)
) STRICT;

CREATE INDEX payments_of_customer ON payments (namespace, customer, rank);

CREATE TRIGGER payments_are_facts BEFORE UPDATE ON payments
WHEN (NEW.rank, NEW.namespace, NEW.id, NEW.customer, NEW.currency, NEW.amount_minor, NEW.at,
      NEW.reference, NEW.origin, NEW.recorded_at)
    IS NOT (OLD.rank, OLD.namespace, OLD.id, OLD.customer, OLD.currency, OLD.amount_minor, OLD.at,
            OLD.reference, OLD.origin, OLD.recorded_at)
    OR OLD.reversed_at IS NOT NULL
BEGIN
    SELECT RAISE(ABORT, 'a payment can only be reversed, once');
END;

CREATE TRIGGER payments_are_kept BEFORE DELETE ON payments
BEGIN
    SELECT RAISE(ABORT, 'payments are kept');
END;

-- Who may tell of payments by webhook. `token` is the part of the address nobody can guess.
CREATE TABLE payment_sources (
    namespace TEXT NOT NULL REFERENCES namespaces (name),
    id TEXT NOT NULL,
    token TEXT NOT NULL UNIQUE,
    secrets TEXT NOT NULL CHECK (json_valid(secrets)),
    created_at INTEGER NOT NULL,
    PRIMARY KEY (namespace, id)
) STRICT, WITHOUT ROWID;
