-- SPDX-License-Identifier: Apache-2.0
--
-- Tetrad's database, version 7: fair shares, caps and priorities; pauses; removal.
--
-- A database made before this version keeps the pages that a removal frees and fills them again; one
-- made from now on gives them back to the file system (auto_vacuum is set where a file is made).

ALTER TABLE experiment ADD COLUMN priority INTEGER NOT NULL DEFAULT 0; -- as its owner set it for all runs at once

ALTER TABLE run ADD COLUMN owner   TEXT    NOT NULL DEFAULT '';                         -- experiment.owner
ALTER TABLE run ADD COLUMN threads INTEGER NOT NULL DEFAULT 1;                          -- processors it trains on
ALTER TABLE run ADD COLUMN flops   REAL    NOT NULL DEFAULT 0.0;                        -- of the whole run, floating-point operations; 0: not known
ALTER TABLE run ADD COLUMN held    INTEGER NOT NULL DEFAULT 0 CHECK (held IN (0, 1));   -- a user wants it paused; while 'running': its worker is to stop
UPDATE run SET owner   = (SELECT owner FROM experiment e WHERE e.id = run.experiment),
               threads = coalesce((SELECT json_extract(definition, '$.training.threads')
                                     FROM run_definition d WHERE d.run = run.id), 1);

-- What an experiment still has to do: the sum of run.flops over its runs that are not final; kept by
-- triggers, from this version on.
ALTER TABLE experiment_runs ADD COLUMN flops REAL NOT NULL DEFAULT 0.0;

-- share_choose, store_plan_take: the head of each user's queue, and what follows it.
DROP INDEX run_queue;
CREATE INDEX run_queue ON run (owner, priority DESC, id) WHERE state = 'queued';

-- runs_recover: runs to queue again.
CREATE INDEX run_paused ON run (experiment) WHERE state = 'paused';

-- How fast this machine is, for estimates.
ALTER TABLE store ADD COLUMN speed       REAL NOT NULL DEFAULT 0.0; -- of a worker lately, FLOP/s; 0: not known
ALTER TABLE store ADD COLUMN run_seconds REAL NOT NULL DEFAULT 0.0; -- that attempts took lately, running mean, s; 0: none yet

-- What users have had of the workers lately. A row per user who ever submitted.
CREATE TABLE usage (
    user    TEXT PRIMARY KEY,                             -- run.owner
    seconds REAL    NOT NULL DEFAULT 0.0,                 -- of workers' time times threads, as it counted at at_ms; halves with each half-life, s
    at_ms   INTEGER NOT NULL DEFAULT 0,                   -- when seconds was written, ms
    queued  INTEGER NOT NULL DEFAULT 0 CHECK (queued >= 0) -- their runs in state 'queued', kept by triggers
) STRICT, WITHOUT ROWID;
INSERT INTO usage (user, queued) SELECT owner, total(state = 'queued') FROM run GROUP BY owner;

-- The runs in state 'running': what their users are charged for while they go on. The key serves
-- share_choose: a user's attempts.
CREATE TABLE attempt (
    owner       TEXT    NOT NULL,                     -- run.owner
    run         INTEGER NOT NULL REFERENCES run (id), -- run.id
    threads     INTEGER NOT NULL,                     -- run.threads
    began_ms    INTEGER NOT NULL,                     -- when a worker took it, ms
    charged_ms  INTEGER NOT NULL,                     -- up to when usage.seconds has it, ms
    expected_ms INTEGER NOT NULL,                     -- how long it was thought to take, ms
    step        INTEGER NOT NULL,                     -- run.step when it began
    PRIMARY KEY (owner, run)
) STRICT, WITHOUT ROWID;

-- charge: a run's attempt; the trigger below.
CREATE UNIQUE INDEX attempt_by_run ON attempt (run);

CREATE TRIGGER run_joins AFTER INSERT ON run WHEN new.state = 'queued'
BEGIN
    INSERT INTO usage (user, queued) VALUES (new.owner, 1)
        ON CONFLICT (user) DO UPDATE SET queued = queued + 1;
    UPDATE experiment_runs SET flops = flops + new.flops WHERE experiment = new.experiment;
END;

CREATE TRIGGER run_shares AFTER UPDATE OF state ON run WHEN new.state <> old.state
BEGIN
    UPDATE usage SET queued = queued + (new.state = 'queued') - (old.state = 'queued')
     WHERE user = new.owner AND (new.state = 'queued' OR old.state = 'queued');
    UPDATE experiment_runs SET flops = max(0.0, flops - new.flops)
     WHERE experiment = new.experiment AND new.flops > 0.0
       AND new.state IN ('succeeded', 'diverged', 'failed', 'cancelled')
       AND old.state NOT IN ('succeeded', 'diverged', 'failed', 'cancelled');
    DELETE FROM attempt WHERE run = old.id AND old.state = 'running';
END;

-- Experiments that are gone for everybody, while their rows are removed little by little.
CREATE TABLE removal (
    experiment INTEGER PRIMARY KEY REFERENCES experiment (id) -- experiment.id
) STRICT;
