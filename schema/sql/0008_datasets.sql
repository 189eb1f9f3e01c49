-- SPDX-License-Identifier: Apache-2.0
--
-- Tetrad's database, version 8: datasets that were uploaded.
--
-- A dataset's content lies in a file of its own, named by its digest, in the state folder; rows here
-- give it names. Texts are UTF-8; times are UTC, milliseconds since 1970.

CREATE TABLE dataset (
    name       TEXT PRIMARY KEY,   -- letters, digits, '-', '_'; at most 63
    owner      TEXT NOT NULL,      -- who uploaded it: user name
    kind       TEXT NOT NULL CHECK (kind IN ('npz', 'csv', 'idx', 'cifar10', 'cifar100')), -- as it came
    sha256     TEXT NOT NULL,      -- 'sha256:...' of the decoded content (dataset_digest)
    bytes      INTEGER NOT NULL,   -- of the file that it is kept in, bytes
    created_ms INTEGER NOT NULL    -- when it was uploaded, ms
) STRICT, WITHOUT ROWID;

-- store_dataset_delete: whether another name has the content; store_dataset_known.
CREATE INDEX dataset_content ON dataset (sha256);

-- How many runs wait for a dataset or use it, of any source: counted by the triggers below, so that
-- nobody reads the definitions of a million runs.
CREATE TABLE dataset_use (
    name TEXT PRIMARY KEY,         -- $.dataset.name of the runs' definitions
    runs INTEGER NOT NULL          -- queued, running or paused ones
) STRICT, WITHOUT ROWID;

INSERT INTO dataset_use (name, runs)
SELECT json_extract(d.definition, '$.dataset.name') AS used, count(*)
  FROM run r JOIN run_definition d ON d.run = r.id
 WHERE r.state IN ('queued', 'running', 'paused') AND used IS NOT NULL
 GROUP BY used;

CREATE TRIGGER dataset_use_inserted AFTER INSERT ON run_definition
WHEN (SELECT state FROM run WHERE id = new.run) IN ('queued', 'running', 'paused')
BEGIN
    INSERT INTO dataset_use (name, runs)
    SELECT json_extract(new.definition, '$.dataset.name') AS used, 1 WHERE used IS NOT NULL
        ON CONFLICT (name) DO UPDATE SET runs = runs + 1;
END;

CREATE TRIGGER dataset_use_moved AFTER UPDATE OF state ON run
WHEN (new.state IN ('queued', 'running', 'paused')) <> (old.state IN ('queued', 'running', 'paused'))
BEGIN
    INSERT INTO dataset_use (name, runs)
    SELECT json_extract(d.definition, '$.dataset.name') AS used, 1
      FROM run_definition d WHERE d.run = new.id AND used IS NOT NULL
        ON CONFLICT (name) DO UPDATE
       SET runs = runs + (new.state IN ('queued', 'running', 'paused'))
                       - (old.state IN ('queued', 'running', 'paused'));
END;

-- A run goes before its definition or after it: whichever comes first finds both.
CREATE TRIGGER dataset_use_run_deleted BEFORE DELETE ON run
WHEN old.state IN ('queued', 'running', 'paused')
BEGIN
    UPDATE dataset_use SET runs = runs - 1
     WHERE name = (SELECT json_extract(definition, '$.dataset.name') FROM run_definition WHERE run = old.id);
END;

CREATE TRIGGER dataset_use_definition_deleted BEFORE DELETE ON run_definition
WHEN (SELECT state FROM run WHERE id = old.run) IN ('queued', 'running', 'paused')
BEGIN
    UPDATE dataset_use SET runs = runs - 1 WHERE name = json_extract(old.definition, '$.dataset.name');
END;
