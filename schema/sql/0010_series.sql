-- SPDX-License-Identifier: Apache-2.0
--
-- Tetrad's database, version 10: metrics that are drawn.
--
-- Summaries of a run's series over bins of steps: bin k of a level holds the records of steps
-- k * 2^level up to, not including, (k + 1) * 2^level. A run's lowest level is draw_level, and three
-- follow, each of sixteen times as many steps. They follow from metric.

ALTER TABLE run ADD COLUMN draw_level INTEGER; -- log2 of the steps of its smallest bins; NULL: it has none yet

-- The key serves store_points_read: a series' bins of a level, ascending.
CREATE TABLE metric_bin (
    run       INTEGER NOT NULL REFERENCES run (id) ON DELETE CASCADE, -- run.id
    series    INTEGER NOT NULL REFERENCES series (id),                -- series.id
    level     INTEGER NOT NULL,           -- log2 of the bin's steps
    bin       INTEGER NOT NULL,           -- step >> level
    n         INTEGER NOT NULL,           -- records in it
    low_step  INTEGER,                    -- step of the first of the least finite values; NULL: none is finite
    low       REAL,                       -- that value, in the series' unit
    high_step INTEGER,                    -- step of the first of the greatest finite values
    high      REAL,                       -- that value
    null_step INTEGER,                    -- first step whose value is NULL in metric; NULL: none
    PRIMARY KEY (run, series, level, bin)
) STRICT, WITHOUT ROWID;
