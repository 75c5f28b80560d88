-- How a namespace bills, in versions; coupons, and the discounts customers have.

CREATE TABLE billing_settings (
    namespace TEXT NOT NULL REFERENCES namespaces (name),
    version INTEGER NOT NULL CHECK (version >= 1),
    document BLOB NOT NULL,
    at INTEGER NOT NULL,
    actor TEXT NOT NULL,
    reason TEXT NOT NULL,
    PRIMARY KEY (namespace, version)
) STRICT;

CREATE TRIGGER billing_settings_count_up_by_one
BEFORE INSERT ON billing_settings
WHEN NEW.version <> 1 + (
    SELECT coalesce(max(version), 0) FROM billing_settings WHERE namespace = NEW.namespace
)
BEGIN
    SELECT RAISE(ABORT, 'versions of billing settings count up by one');
END;

CREATE TRIGGER billing_settings_are_immutable
BEFORE UPDATE ON billing_settings
BEGIN
    SELECT RAISE(ABORT, 'versions of billing settings are immutable');
END;

CREATE TRIGGER billing_settings_are_kept
BEFORE DELETE ON billing_settings
BEGIN
    SELECT RAISE(ABORT, 'versions of billing settings are kept');
END;

CREATE TABLE coupons (
    namespace TEXT NOT NULL REFERENCES namespaces (name),
    id TEXT NOT NULL,
    terms TEXT NOT NULL CHECK (json_valid(terms)),
    max_redemptions INTEGER CHECK (max_redemptions >= 1),
    expires_at INTEGER,
    once_per_customer INTEGER NOT NULL CHECK (once_per_customer IN (0, 1)),
    created_at INTEGER NOT NULL,
    PRIMARY KEY (namespace, id)
) STRICT, WITHOUT ROWID;

CREATE TABLE discounts (
    rank INTEGER PRIMARY KEY,
    namespace TEXT NOT NULL,
    id TEXT NOT NULL,
    customer TEXT NOT NULL,
    coupon TEXT,
    terms TEXT NOT NULL CHECK (json_valid(terms)),
    subscription TEXT,
    given_at INTEGER NOT NULL,
    ended_at INTEGER,
    UNIQUE (namespace, customer, id),
    FOREIGN KEY (namespace, customer) REFERENCES customers (namespace, key)
) STRICT;

CREATE INDEX discounts_by_coupon ON discounts (namespace, coupon, customer)
WHERE coupon IS NOT NULL;

CREATE TRIGGER discounts_only_ever_end
BEFORE UPDATE ON discounts
WHEN (NEW.rank, NEW.namespace, NEW.id, NEW.customer, NEW.terms, NEW.given_at)
    IS NOT (OLD.rank, OLD.namespace, OLD.id, OLD.customer, OLD.terms, OLD.given_at)
    OR NEW.coupon IS NOT OLD.coupon
    OR NEW.subscription IS NOT OLD.subscription
    OR OLD.ended_at IS NOT NULL
BEGIN
    SELECT RAISE(ABORT, 'a discount can only be ended, once');
END;

CREATE TRIGGER discounts_are_kept
BEFORE DELETE ON discounts
BEGIN
    SELECT RAISE(ABORT, 'discounts are kept');
END;
