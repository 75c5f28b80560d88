-- A subscription is a list of segments instead of one plan for good, and keeps what it was before
-- each change. What began before this schema has been on one plan ever since.

UPDATE subscriptions SET document = json_object(
    'id', id,
    'customer', customer,
    'anchor', json_extract(document, '$.anchor'),
    'timezone', json_extract(document, '$.timezone'),
    'segments', json_array(json_object(
        'start', json_extract(document, '$.start'),
        'plan', json_extract(document, '$.plan'),
        'catalog_version', catalog_version,
        'cadence', (
            SELECT json_extract(
                CAST(c.document AS TEXT),
                '$.plans."' || json_extract(subscriptions.document, '$.plan') || '".cadence'
            )
            FROM catalog_versions AS c
            WHERE c.namespace = subscriptions.namespace
            AND c.version = subscriptions.catalog_version
        ),
        'pinned', json(iif(json_extract(document, '$.pinned'), 'true', 'false'))
    )),
    'end', json_extract(document, '$.end'),
    'created_at', json_extract(document, '$.created_at')
);

CREATE TABLE subscription_revisions (
    namespace TEXT NOT NULL,
    subscription TEXT NOT NULL,
    revision INTEGER NOT NULL,
    at INTEGER NOT NULL,
    actor TEXT NOT NULL,
    detail TEXT NOT NULL CHECK (json_valid(detail)),
    document TEXT NOT NULL CHECK (json_valid(document)),
    PRIMARY KEY (namespace, subscription, revision),
    FOREIGN KEY (namespace, subscription) REFERENCES subscriptions (namespace, id)
) STRICT;

INSERT INTO subscription_revisions
SELECT namespace, id, 1, json_extract(document, '$.created_at'), '', '{}', document
FROM subscriptions;

CREATE TRIGGER subscription_revisions_stay
BEFORE UPDATE ON subscription_revisions
BEGIN
    SELECT RAISE(ABORT, 'a revision of a subscription never changes');
END;

CREATE TRIGGER subscription_revisions_are_kept
BEFORE DELETE ON subscription_revisions
BEGIN
    SELECT RAISE(ABORT, 'a revision of a subscription is never deleted');
END;
