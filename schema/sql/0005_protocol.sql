-- SPDX-License-Identifier: Apache-2.0
--
-- Tetrad's database, version 5: the tables that protocol runs end with.

CREATE TABLE protocol_result (
    run  INTEGER PRIMARY KEY REFERENCES run (id) ON DELETE CASCADE, -- run.id
    rows TEXT NOT NULL                                              -- canonical JSON array of objects
) STRICT;
