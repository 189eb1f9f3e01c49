-- SPDX-License-Identifier: Apache-2.0
--
-- Tetrad's database, version 11: what is kept for good.

-- A pinned run loses nothing to POST /v1/admin/retention, and is not deleted with its experiment.
ALTER TABLE run ADD COLUMN pinned INTEGER NOT NULL DEFAULT 0 CHECK (pinned IN (0, 1));

-- store_pinned: whether an experiment may be deleted.
CREATE INDEX run_pinned ON run (experiment) WHERE pinned = 1;

-- A pinned checkpoint is not removed by newer ones either.
ALTER TABLE checkpoint ADD COLUMN pinned INTEGER NOT NULL DEFAULT 0 CHECK (pinned IN (0, 1));
