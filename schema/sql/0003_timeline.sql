-- SPDX-License-Identifier: Apache-2.0
--
-- Tetrad's database, version 3: what happened to a run, and when.
--
-- A run's being submitted is in run.created_ms and has no row. Its changes of state are written by a
-- trigger, so that none is without its row; interventions by the writer, each once.

CREATE TABLE timeline (
    run          INTEGER NOT NULL REFERENCES run (id), -- run.id
    sequence     INTEGER NOT NULL,                     -- place in the run's timeline, from 1
    at_ms        INTEGER NOT NULL,                     -- when, ms
    step         INTEGER NOT NULL,                     -- mini-batches known to be trained by then
    event        TEXT NOT NULL,                        -- 'started', 'resumed', 'given_back', 'intervention', or a state
    intervention INTEGER,                              -- its number in the definition, from 0; NULL of other events
    detail       TEXT,                                 -- of an intervention: JSON object, as in the definition
    reason       TEXT,                                 -- of a change of state: run.reason then
    PRIMARY KEY (run, sequence)
) STRICT, WITHOUT ROWID;

-- An intervention that is reported again keeps its first place.
CREATE UNIQUE INDEX timeline_intervention ON timeline (run, intervention) WHERE intervention IS NOT NULL;

-- A server that restarts for ever leaves no more than the newest 256 rows of a run, besides its
-- interventions.
CREATE TRIGGER run_timeline AFTER UPDATE OF state ON run WHEN new.state <> old.state
BEGIN
    INSERT INTO timeline (run, sequence, at_ms, step, event, reason)
    SELECT new.id,
           coalesce((SELECT max(sequence) FROM timeline WHERE run = new.id), 0) + 1,
           CAST(round((julianday('now') - 2440587.5) * 86400000.0) AS INTEGER),
           new.step,
           CASE WHEN new.state = 'running' AND new.attempts > 1       THEN 'resumed'
                WHEN new.state = 'running'                            THEN 'started'
                WHEN new.state = 'queued' AND old.state = 'running'   THEN 'given_back'
                ELSE new.state END,
           new.reason;
    DELETE FROM timeline
     WHERE run = new.id AND intervention IS NULL
       AND sequence <= (SELECT max(sequence) FROM timeline WHERE run = new.id) - 256;
END;
