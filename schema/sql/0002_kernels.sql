-- SPDX-License-Identifier: Apache-2.0
--
-- Tetrad's database, version 2: arrays of rank 4, the kernels of convolutions.
--
-- Two more sizes, and a wider bound on the rank. SQLite cannot change a CHECK, and to make the table
-- anew would cascade to its chunks, so the column is exchanged for one with the new bound.

ALTER TABLE checkpoint_array ADD COLUMN kernel_rows    INTEGER NOT NULL DEFAULT 0; -- shape[2], 0 below rank 4
ALTER TABLE checkpoint_array ADD COLUMN kernel_columns INTEGER NOT NULL DEFAULT 0; -- shape[3], 0 below rank 4
ALTER TABLE checkpoint_array ADD COLUMN wider_rank     INTEGER NOT NULL DEFAULT 1 CHECK (wider_rank IN (1, 2, 4));
UPDATE checkpoint_array SET wider_rank = rank;
ALTER TABLE checkpoint_array DROP COLUMN rank;
ALTER TABLE checkpoint_array RENAME COLUMN wider_rank TO rank;
