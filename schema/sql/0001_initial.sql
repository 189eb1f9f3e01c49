-- SPDX-License-Identifier: Apache-2.0
--
-- Tetrad's database, version 1.
--
-- Applied whole, in one transaction, by server/store/store.c, which also sets application_id and
-- user_version. A number that C holds as uint64_t is kept as the int64 with the same bits. Times
-- are milliseconds since 1970, UTC. STRICT everywhere: a column holds its type or the write fails.

-- One row about the whole store.
CREATE TABLE store (
    id        INTEGER PRIMARY KEY CHECK (id = 1),
    queued    INTEGER NOT NULL CHECK (queued >= 0), -- runs in state 'queued', kept by triggers
    probed_ms INTEGER NOT NULL                      -- last time a write was tried after a failed one
) STRICT;
INSERT INTO store (id, queued, probed_ms) VALUES (1, 0, 0);

-- What was submitted. Never changes.
CREATE TABLE experiment (
    id              INTEGER PRIMARY KEY AUTOINCREMENT, -- never used twice
    owner           TEXT NOT NULL,                     -- who submitted it: 'local'
    name            TEXT NOT NULL,                     -- as given by the user
    hash            TEXT NOT NULL,                     -- 'sha256:...' of definition
    idempotency_key TEXT,                              -- the submission's key, NULL without
    created_ms      INTEGER NOT NULL,                  -- when it was submitted, ms
    tags            TEXT NOT NULL,                     -- canonical JSON array of strings
    definition      TEXT NOT NULL                      -- canonical resolved JSON
) STRICT;

-- store_submit: is this key known for this owner?
CREATE UNIQUE INDEX experiment_by_key ON experiment (owner, idempotency_key)
    WHERE idempotency_key IS NOT NULL;

-- store_experiments_read: an owner's experiments, newest first.
CREATE INDEX experiment_by_owner ON experiment (owner);

-- A row per tag of an experiment. Its key serves store_experiments_read: a tag's experiments,
-- newest first.
CREATE TABLE experiment_tag (
    tag        TEXT NOT NULL,                                                   -- as in experiment.tags
    experiment INTEGER NOT NULL REFERENCES experiment (id) ON DELETE CASCADE,   -- experiment.id
    PRIMARY KEY (tag, experiment)
) STRICT, WITHOUT ROWID;

-- How many runs of an experiment are in each state; kept by the triggers on run. Apart from
-- experiment, so that a run's change of state rewrites a few bytes and not a definition.
CREATE TABLE experiment_runs (
    experiment INTEGER PRIMARY KEY REFERENCES experiment (id) ON DELETE CASCADE, -- experiment.id
    queued     INTEGER NOT NULL DEFAULT 0 CHECK (queued >= 0),                   -- runs
    running    INTEGER NOT NULL DEFAULT 0 CHECK (running >= 0),                  -- runs
    paused     INTEGER NOT NULL DEFAULT 0 CHECK (paused >= 0),                   -- runs
    succeeded  INTEGER NOT NULL DEFAULT 0 CHECK (succeeded >= 0),                -- runs
    diverged   INTEGER NOT NULL DEFAULT 0 CHECK (diverged >= 0),                 -- runs
    failed     INTEGER NOT NULL DEFAULT 0 CHECK (failed >= 0),                   -- runs
    cancelled  INTEGER NOT NULL DEFAULT 0 CHECK (cancelled >= 0),                -- runs
    state      TEXT NOT NULL GENERATED ALWAYS AS (                               -- experiment_state() in C
        CASE WHEN running   > 0 THEN 'running'
             WHEN queued    > 0 THEN 'queued'
             WHEN paused    > 0 THEN 'paused'
             WHEN failed    > 0 THEN 'failed'
             WHEN diverged  > 0 THEN 'diverged'
             WHEN cancelled > 0 THEN 'cancelled'
             ELSE 'succeeded' END) VIRTUAL
) STRICT;

-- store_experiments_read: the experiments in a state, newest first.
CREATE INDEX experiment_runs_by_state ON experiment_runs (state);

-- How a run is doing. What it is lies in run_definition, so that updates here stay small.
CREATE TABLE run (
    id            INTEGER PRIMARY KEY AUTOINCREMENT,          -- never used twice; order of submission
    experiment    INTEGER NOT NULL REFERENCES experiment (id), -- experiment.id
    state         TEXT NOT NULL CHECK (state IN ('queued', 'running', 'paused', 'succeeded',
                                                 'diverged', 'failed', 'cancelled')),
    reason        TEXT,                                       -- why it is in this state, NULL: says it all
    priority      INTEGER NOT NULL DEFAULT 0,                 -- higher is taken first
    step          INTEGER NOT NULL DEFAULT 0,                 -- mini-batches known to be trained
    steps         INTEGER NOT NULL,                           -- mini-batches of the whole run
    records       INTEGER NOT NULL DEFAULT 0,                 -- records reported: the next metric.sequence
    memory_bytes  INTEGER NOT NULL,                           -- what training it will take, bytes
    attempts      INTEGER NOT NULL DEFAULT 0,                 -- times it was started
    worker        INTEGER NOT NULL DEFAULT 0,                 -- number of the last attempt's worker
    train_seconds REAL NOT NULL DEFAULT 0.0,                  -- over all attempts, s
    created_ms    INTEGER NOT NULL,                           -- when it was submitted, ms
    started_ms    INTEGER NOT NULL DEFAULT 0,                 -- when it was first started, ms; 0: not yet
    ended_ms      INTEGER NOT NULL DEFAULT 0,                 -- when it became final, ms; 0: not yet
    hash          TEXT NOT NULL,                              -- 'sha256:...' of the definition
    digest        TEXT,                                       -- 'sha256:...' of the weights, once succeeded
    parameters    TEXT NOT NULL                               -- canonical JSON object: its point of the sweep
) STRICT;

-- store_claim: the head of the queue.
CREATE INDEX run_queue ON run (priority DESC, id) WHERE state = 'queued';

-- store_open: runs to recover; store_cancel: an experiment's runs to stop.
CREATE INDEX run_running ON run (experiment) WHERE state = 'running';

-- store_runs_read, store_cancel: an experiment's runs by id.
CREATE INDEX run_by_experiment ON run (experiment);

-- What a run is.
CREATE TABLE run_definition (
    run        INTEGER PRIMARY KEY REFERENCES run (id) ON DELETE CASCADE, -- run.id
    definition TEXT NOT NULL                                              -- canonical resolved JSON
) STRICT;

-- The counters. A rolled back change of state rolls them back too.
CREATE TRIGGER experiment_inserted AFTER INSERT ON experiment
BEGIN
    INSERT INTO experiment_runs (experiment) VALUES (new.id);
END;

CREATE TRIGGER run_inserted AFTER INSERT ON run
BEGIN
    UPDATE experiment_runs
       SET queued    = queued    + (new.state = 'queued'),
           running   = running   + (new.state = 'running'),
           paused    = paused    + (new.state = 'paused'),
           succeeded = succeeded + (new.state = 'succeeded'),
           diverged  = diverged  + (new.state = 'diverged'),
           failed    = failed    + (new.state = 'failed'),
           cancelled = cancelled + (new.state = 'cancelled')
     WHERE experiment = new.experiment;
    UPDATE store SET queued = queued + 1 WHERE new.state = 'queued';
END;

CREATE TRIGGER run_moved AFTER UPDATE OF state ON run WHEN new.state <> old.state
BEGIN
    UPDATE experiment_runs
       SET queued    = queued    + (new.state = 'queued')    - (old.state = 'queued'),
           running   = running   + (new.state = 'running')   - (old.state = 'running'),
           paused    = paused    + (new.state = 'paused')    - (old.state = 'paused'),
           succeeded = succeeded + (new.state = 'succeeded') - (old.state = 'succeeded'),
           diverged  = diverged  + (new.state = 'diverged')  - (old.state = 'diverged'),
           failed    = failed    + (new.state = 'failed')    - (old.state = 'failed'),
           cancelled = cancelled + (new.state = 'cancelled') - (old.state = 'cancelled')
     WHERE experiment = new.experiment;
    UPDATE store SET queued = queued + (new.state = 'queued') - (old.state = 'queued')
     WHERE new.state = 'queued' OR old.state = 'queued';
END;

-- Names of measured series, each once.
CREATE TABLE series (
    id   INTEGER PRIMARY KEY,  -- in order of first use
    name TEXT NOT NULL UNIQUE  -- 'alignment/modulation/2'
) STRICT;

-- Measured values. The key serves store_metrics_read: a run's values after a step, ascending; and
-- makes a value that is reported again take its own place.
CREATE TABLE metric (
    run      INTEGER NOT NULL REFERENCES run (id),    -- run.id
    step     INTEGER NOT NULL,                        -- mini-batches from 1
    series   INTEGER NOT NULL REFERENCES series (id), -- series.id
    sequence INTEGER NOT NULL,                        -- number of the record in the run, from 0
    value    REAL,                                    -- in the series' unit; NULL: NaN or infinite
    PRIMARY KEY (run, step, series)
) STRICT, WITHOUT ROWID;

-- The last value of each series of a run; follows from metric. The key serves store_final_read.
CREATE TABLE final (
    run    INTEGER NOT NULL REFERENCES run (id),    -- run.id
    series INTEGER NOT NULL REFERENCES series (id), -- series.id
    step   INTEGER NOT NULL,                        -- metric.step
    value  REAL,                                    -- metric.value
    PRIMARY KEY (run, series)
) STRICT, WITHOUT ROWID;

-- Where a run can go on from: the trainer's cursor; doubles as their bits.
CREATE TABLE checkpoint (
    id             INTEGER PRIMARY KEY,
    run            INTEGER NOT NULL REFERENCES run (id), -- run.id
    step           INTEGER NOT NULL,                     -- mini-batches trained
    records        INTEGER NOT NULL,                     -- records reported: metrics from this sequence are later
    loss_sum_bits  INTEGER NOT NULL,                     -- double: sum of losses over the epoch's examples so far
    correct        INTEGER NOT NULL,                     -- of the epoch's examples so far
    epoch          INTEGER NOT NULL,                     -- epochs finished, evaluation included
    batch          INTEGER NOT NULL,                     -- mini-batches of the epoch trained
    last_loss_bits INTEGER NOT NULL,                     -- double: mean loss of the last mini-batch
    arrays         INTEGER NOT NULL,                     -- how many rows of checkpoint_array belong to it
    created_ms     INTEGER NOT NULL,                     -- when it was written, ms
    UNIQUE (run, step) -- store_checkpoint_read: the newest or one step's; pruning
) STRICT;

-- A checkpoint's arrays.
CREATE TABLE checkpoint_array (
    checkpoint INTEGER NOT NULL REFERENCES checkpoint (id) ON DELETE CASCADE, -- checkpoint.id
    ordinal    INTEGER NOT NULL,                        -- place in the trainer's order, from 0
    name       TEXT NOT NULL,                           -- 'W1', 'velocity/W1'
    velocity   INTEGER NOT NULL CHECK (velocity IN (0, 1)),
    rank       INTEGER NOT NULL CHECK (rank IN (1, 2)),
    rows       INTEGER NOT NULL,                        -- shape[0]
    columns    INTEGER NOT NULL,                        -- shape[1]
    n          INTEGER NOT NULL CHECK (n >= 0),         -- elements
    PRIMARY KEY (checkpoint, ordinal)
) STRICT, WITHOUT ROWID;

-- An array's values: float32, little-endian, row-major, cut into pieces below SQLite's limit on a
-- value's size.
CREATE TABLE checkpoint_chunk (
    checkpoint INTEGER NOT NULL,  -- checkpoint_array.checkpoint
    ordinal    INTEGER NOT NULL,  -- checkpoint_array.ordinal
    chunk      INTEGER NOT NULL,  -- place of the piece, from 0
    data       BLOB NOT NULL,     -- 4 bytes an element
    PRIMARY KEY (checkpoint, ordinal, chunk),
    FOREIGN KEY (checkpoint, ordinal) REFERENCES checkpoint_array (checkpoint, ordinal) ON DELETE CASCADE
) STRICT;
