-- SPDX-License-Identifier: Apache-2.0
--
-- Tetrad's database, version 6: users, tokens, and who did what.

CREATE TABLE user (name TEXT PRIMARY KEY, weight REAL NOT NULL DEFAULT 1.0, cap INTEGER, created_ms INTEGER NOT NULL DEFAULT 0) STRICT;
