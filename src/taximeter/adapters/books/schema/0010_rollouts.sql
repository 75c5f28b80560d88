-- Why a version of the catalogue was published; versions that only a rollout puts somebody on.

ALTER TABLE catalog_versions ADD COLUMN reason TEXT NOT NULL DEFAULT '';
ALTER TABLE catalog_versions ADD COLUMN staged INTEGER NOT NULL DEFAULT 0 CHECK (staged IN (0, 1));

CREATE TABLE rollouts (
    namespace TEXT NOT NULL REFERENCES namespaces (name),
    id TEXT NOT NULL,
    version INTEGER NOT NULL,
    document TEXT NOT NULL CHECK (json_valid(document)),
    PRIMARY KEY (namespace, id),
    FOREIGN KEY (namespace, version) REFERENCES catalog_versions (namespace, version)
) STRICT, WITHOUT ROWID;

-- Who was put on which side, and when: what a comparison is made by.
CREATE TABLE rollout_assignments (
    namespace TEXT NOT NULL,
    rollout TEXT NOT NULL,
    subscription TEXT NOT NULL,
    customer TEXT NOT NULL,
    document TEXT NOT NULL CHECK (json_valid(document)),
    PRIMARY KEY (namespace, rollout, subscription),
    FOREIGN KEY (namespace, rollout) REFERENCES rollouts (namespace, id),
    FOREIGN KEY (namespace, subscription) REFERENCES subscriptions (namespace, id)
) STRICT, WITHOUT ROWID;

CREATE INDEX rollout_assignments_by_customer ON rollout_assignments (namespace, customer);
