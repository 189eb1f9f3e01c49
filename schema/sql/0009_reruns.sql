-- SPDX-License-Identifier: Apache-2.0
--
-- Tetrad's database, version 9: runs that repeat others, and imported ones.

ALTER TABLE run ADD COLUMN rerun_of INTEGER REFERENCES run (id) ON DELETE SET NULL; -- run.id of what it repeats; NULL: no rerun
ALTER TABLE run ADD COLUMN rerun_result TEXT; -- canonical JSON object, once both have ended: do they agree; NULL: not compared yet

-- Deleting a run: which reruns refer to it.
CREATE INDEX run_by_rerun ON run (rerun_of) WHERE rerun_of IS NOT NULL;
