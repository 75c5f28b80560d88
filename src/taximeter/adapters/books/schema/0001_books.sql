-- The books: everything that is configured or billed. Instants are microseconds since the epoch.

-- A namespace exists as soon as it has a key, a catalogue or a customer.
CREATE TABLE namespaces (
    name TEXT PRIMARY KEY CHECK (length(name) BETWEEN 1 AND 256),
    last_invoice_number INTEGER NOT NULL DEFAULT 0
) STRICT, WITHOUT ROWID;

-- Gapless: a number can neither be skipped nor be taken back.
CREATE TRIGGER invoice_numbers_count_up_by_one
BEFORE UPDATE OF last_invoice_number ON namespaces
WHEN NEW.last_invoice_number <> OLD.last_invoice_number + 1
BEGIN
    SELECT RAISE(ABORT, 'invoice numbers count up by one');
END;

CREATE TABLE keys (
    id TEXT PRIMARY KEY,
    namespace TEXT NOT NULL REFERENCES namespaces (name),
    name TEXT NOT NULL,
    prefix TEXT NOT NULL,
    digest BLOB NOT NULL UNIQUE CHECK (length(digest) = 32),
    scopes TEXT NOT NULL CHECK (json_valid(scopes)),
    created_at INTEGER NOT NULL,
    expires_at INTEGER,
    revoked_at INTEGER
) STRICT, WITHOUT ROWID;

CREATE TRIGGER keys_only_ever_become_revoked
BEFORE UPDATE ON keys
WHEN (NEW.id, NEW.namespace, NEW.name, NEW.prefix, NEW.digest, NEW.scopes, NEW.created_at)
    IS NOT (OLD.id, OLD.namespace, OLD.name, OLD.prefix, OLD.digest, OLD.scopes, OLD.created_at)
    OR NEW.expires_at IS NOT OLD.expires_at
    OR OLD.revoked_at IS NOT NULL
BEGIN
    SELECT RAISE(ABORT, 'a key can only be revoked, once');
END;

CREATE TABLE catalog_versions (
    namespace TEXT NOT NULL REFERENCES namespaces (name),
    version INTEGER NOT NULL CHECK (version >= 1),
    document BLOB NOT NULL,
    created_at INTEGER NOT NULL,
    author TEXT NOT NULL,
    PRIMARY KEY (namespace, version)
) STRICT;

CREATE TRIGGER catalog_versions_count_up_by_one
BEFORE INSERT ON catalog_versions
WHEN NEW.version <> 1 + (
    SELECT coalesce(max(version), 0) FROM catalog_versions WHERE namespace = NEW.namespace
)
BEGIN
    SELECT RAISE(ABORT, 'catalogue versions count up by one');
END;

CREATE TRIGGER catalog_versions_are_immutable
BEFORE UPDATE ON catalog_versions
BEGIN
    SELECT RAISE(ABORT, 'catalogue versions are immutable');
END;

CREATE TRIGGER catalog_versions_are_kept
BEFORE DELETE ON catalog_versions
BEGIN
    SELECT RAISE(ABORT, 'catalogue versions are kept');
END;

CREATE TABLE customers (
    namespace TEXT NOT NULL REFERENCES namespaces (name),
    key TEXT NOT NULL,
    parent TEXT,
    document TEXT NOT NULL CHECK (json_valid(document)),
    PRIMARY KEY (namespace, key),
    FOREIGN KEY (namespace, parent) REFERENCES customers (namespace, key)
) STRICT, WITHOUT ROWID;

-- The primary key is the rule "a subject belongs to at most one customer". A customer's own key
-- has a row here like any other of its subjects.
CREATE TABLE subjects (
    namespace TEXT NOT NULL,
    subject TEXT NOT NULL,
    customer TEXT NOT NULL,
    PRIMARY KEY (namespace, subject),
    FOREIGN KEY (namespace, customer) REFERENCES customers (namespace, key)
) STRICT, WITHOUT ROWID;

CREATE INDEX subjects_of_customer ON subjects (namespace, customer);

CREATE TABLE subscriptions (
    namespace TEXT NOT NULL,
    id TEXT NOT NULL,
    customer TEXT NOT NULL,
    catalog_version INTEGER NOT NULL,
    document TEXT NOT NULL CHECK (json_valid(document)),
    PRIMARY KEY (namespace, id),
    FOREIGN KEY (namespace, customer) REFERENCES customers (namespace, key),
    FOREIGN KEY (namespace, catalog_version) REFERENCES catalog_versions (namespace, version)
) STRICT;

CREATE TABLE dead_letters (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    namespace TEXT NOT NULL,
    received_at INTEGER NOT NULL,
    code TEXT NOT NULL,
    detail TEXT NOT NULL,
    body BLOB NOT NULL,
    event_id TEXT,
    replayed_at INTEGER
) STRICT;

CREATE INDEX dead_letters_pending ON dead_letters (namespace, id) WHERE replayed_at IS NULL;
CREATE INDEX dead_letters_of_namespace ON dead_letters (namespace, id);

CREATE TABLE invoices (
    rank INTEGER PRIMARY KEY, -- order of creation, by which lists are paged
    namespace TEXT NOT NULL,
    id TEXT NOT NULL,
    series INTEGER CHECK (series >= 1),
    number TEXT,
    customer TEXT NOT NULL,
    subscription TEXT NOT NULL,
    status TEXT NOT NULL CHECK (status IN ('draft', 'issued', 'paid', 'void')),
    period_start INTEGER NOT NULL,
    period_end INTEGER NOT NULL CHECK (period_end >= period_start),
    created_at INTEGER NOT NULL,
    document BLOB NOT NULL,
    UNIQUE (namespace, id),
    UNIQUE (namespace, series),
    UNIQUE (namespace, number),
    CHECK ((series IS NULL) = (number IS NULL)),
    CHECK (CASE status WHEN 'draft' THEN number IS NULL WHEN 'void' THEN TRUE
           ELSE number IS NOT NULL END),
    FOREIGN KEY (namespace, customer) REFERENCES customers (namespace, key),
    FOREIGN KEY (namespace, subscription) REFERENCES subscriptions (namespace, id)
) STRICT;

-- No period is billed twice: whoever comes second finds the first one's invoice. The start alone
-- names a period, so that one whose end moved (a cancellation) is still the same period.
CREATE UNIQUE INDEX one_live_invoice_a_period
ON invoices (namespace, subscription, period_start) WHERE status <> 'void';

CREATE INDEX invoices_of_customer ON invoices (namespace, customer, rank);

CREATE TRIGGER invoices_keep_what_they_bill
BEFORE UPDATE ON invoices
WHEN (NEW.rank, NEW.namespace, NEW.id, NEW.customer, NEW.subscription,
      NEW.period_start, NEW.period_end, NEW.created_at)
    IS NOT (OLD.rank, OLD.namespace, OLD.id, OLD.customer, OLD.subscription,
            OLD.period_start, OLD.period_end, OLD.created_at)
BEGIN
    SELECT RAISE(ABORT, 'an invoice keeps its id, customer and period');
END;

-- K15: what was issued never changes; only its status moves on beside it.
CREATE TRIGGER invoices_are_final_once_issued
BEFORE UPDATE ON invoices
WHEN OLD.status <> 'draft' AND (
    NEW.document IS NOT OLD.document
    OR NEW.number IS NOT OLD.number
    OR NEW.series IS NOT OLD.series
    OR NEW.status = 'draft'
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

CREATE TABLE audit (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    namespace TEXT NOT NULL,
    at INTEGER NOT NULL,
    actor TEXT NOT NULL,
    action TEXT NOT NULL,
    target TEXT NOT NULL,
    detail TEXT NOT NULL CHECK (json_valid(detail))
) STRICT;

CREATE INDEX audit_of_namespace ON audit (namespace, id);

CREATE TRIGGER audit_is_immutable
BEFORE UPDATE ON audit
BEGIN
    SELECT RAISE(ABORT, 'the audit trail is append-only');
END;

CREATE TRIGGER audit_is_kept
BEFORE DELETE ON audit
BEGIN
    SELECT RAISE(ABORT, 'the audit trail is append-only');
END;

CREATE TABLE replies (
    namespace TEXT NOT NULL,
    key TEXT NOT NULL,
    request_digest BLOB NOT NULL,
    status INTEGER NOT NULL,
    content_type TEXT NOT NULL,
    body BLOB NOT NULL,
    created_at INTEGER NOT NULL,
    PRIMARY KEY (namespace, key)
) STRICT;

CREATE INDEX replies_by_age ON replies (created_at);

CREATE TABLE settings (
    namespace TEXT NOT NULL,
    name TEXT NOT NULL,
    value TEXT NOT NULL,
    PRIMARY KEY (namespace, name)
) STRICT, WITHOUT ROWID;
