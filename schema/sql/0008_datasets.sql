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

-- The dataset of each run: $.dataset.name of its definition, here because triggers may not read JSON.
CREATE TABLE run_dataset (
    run  INTEGER PRIMARY KEY REFERENCES run (id) ON DELETE CASCADE, -- run.id
    name TEXT NOT NULL                                              -- of any source
) STRICT;

-- How many runs wait for a dataset or use it: counted by the triggers below, so that nobody reads the
-- rows of a million runs.
CREATE TABLE dataset_use (
    name TEXT PRIMARY KEY,         -- run_dataset.name
    runs INTEGER NOT NULL          -- queued, running or paused ones
) STRICT, WITHOUT ROWID;

CREATE TRIGGER dataset_use_inserted AFTER INSERT ON run_dataset
BEGIN
    INSERT INTO dataset_use (name, runs)
    SELECT new.name, state IN ('queued', 'running', 'paused') FROM run WHERE id = new.run
        ON CONFLICT (name) DO UPDATE SET runs = runs + excluded.runs;
END;

CREATE TRIGGER dataset_use_moved AFTER UPDATE OF state ON run
WHEN (new.state IN ('queued', 'running', 'paused')) <> (old.state IN ('queued', 'running', 'paused'))
BEGIN
    UPDATE dataset_use
       SET runs = runs + (new.state IN ('queued', 'running', 'paused'))
                       - (old.state IN ('queued', 'running', 'paused'))
     WHERE name = (SELECT name FROM run_dataset WHERE run = new.id);
END;

-- A run goes before its row here or after it: whichever comes first finds both.
CREATE TRIGGER dataset_use_run_deleted BEFORE DELETE ON run
WHEN old.state IN ('queued', 'running', 'paused')
BEGIN
    UPDATE dataset_use SET runs = runs - 1
     WHERE name = (SELECT name FROM run_dataset WHERE run = old.id);
END;

CREATE TRIGGER dataset_use_row_deleted BEFORE DELETE ON run_dataset
WHEN (SELECT state FROM run WHERE id = old.run) IN ('queued', 'running', 'paused')
BEGIN
    UPDATE dataset_use SET runs = runs - 1 WHERE name = old.name;
END;

INSERT INTO run_dataset (run, name)
SELECT run, json_extract(definition, '$.dataset.name') FROM run_definition
 WHERE json_extract(definition, '$.dataset.name') IS NOT NULL;
