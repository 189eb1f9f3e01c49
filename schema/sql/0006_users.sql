-- SPDX-License-Identifier: Apache-2.0
--
-- Tetrad's database, version 6: users, tokens, and who did what.

-- A user, from their first token on, or since an administrator gave them a share. Who has no row
-- has weight 1 and no cap.
CREATE TABLE user (
    name       TEXT PRIMARY KEY CHECK (length(name) BETWEEN 1 AND 63), -- letters, digits, . _ - @
    weight     REAL NOT NULL DEFAULT 1.0                               -- share of the workers, relative to others'
               CHECK (weight BETWEEN 0.01 AND 100.0),
    cap        INTEGER CHECK (cap BETWEEN 1 AND 1024),                 -- runs at once, NULL: no bound
    created_ms INTEGER NOT NULL                                        -- ms
) STRICT, WITHOUT ROWID;

-- Who everybody is while there is no token.
INSERT INTO user (name, created_ms) VALUES ('local', CAST(strftime('%s', 'now') AS INTEGER) * 1000);

-- A token. Never deleted: once there was one, everybody needs one.
CREATE TABLE token (
    id         INTEGER PRIMARY KEY AUTOINCREMENT,                              -- never used twice
    user       TEXT NOT NULL REFERENCES user (name),                           -- user.name
    role       TEXT NOT NULL CHECK (role IN ('viewer', 'member', 'admin')),
    note       TEXT NOT NULL DEFAULT '',                                       -- what it is for, as given
    hash       BLOB NOT NULL UNIQUE CHECK (length(hash) = 32),                 -- SHA-256 of the token's text
    created_ms INTEGER NOT NULL,                                               -- ms
    expires_ms INTEGER NOT NULL DEFAULT 0 CHECK (expires_ms >= 0),             -- good until then, ms; 0: for ever
    used_ms    INTEGER NOT NULL DEFAULT 0,                                     -- last used, to a minute, ms; 0: never
    revoked_ms INTEGER NOT NULL DEFAULT 0                                      -- ms; 0: it is not
) STRICT;

-- store_users_read: a user's tokens.
CREATE INDEX token_by_user ON token (user);

-- Grows with every change to what a token may do, so that a server sees what another program did by
-- one small read.
CREATE TABLE token_revision (
    id       INTEGER PRIMARY KEY CHECK (id = 1),
    revision INTEGER NOT NULL                    -- changes so far
) STRICT;
INSERT INTO token_revision (id, revision) VALUES (1, 0);

CREATE TRIGGER token_inserted AFTER INSERT ON token
BEGIN
    UPDATE token_revision SET revision = revision + 1;
END;

CREATE TRIGGER token_changed AFTER UPDATE OF user, role, hash, expires_ms, revoked_ms ON token
BEGIN
    UPDATE token_revision SET revision = revision + 1;
END;

-- Who did what; the newest 100,000 entries.
CREATE TABLE audit (
    id     INTEGER PRIMARY KEY AUTOINCREMENT, -- in the order of writing
    at_ms  INTEGER NOT NULL,                  -- when, ms
    user   TEXT NOT NULL,                     -- who, '' for nobody known
    token  INTEGER NOT NULL,                  -- token.id; 0: none was needed, or the command line
    action TEXT NOT NULL,                     -- 'POST /v1/runs/{id}/cancel', 'token create', 'failed tokens'
    object TEXT NOT NULL,                     -- on what: '/v1/runs/7/cancel', 'token 3'
    detail TEXT NOT NULL                      -- JSON object
) STRICT;

-- store_audit_read: a user's entries, newest first.
CREATE INDEX audit_by_user ON audit (user, id);

CREATE TRIGGER audit_bounded AFTER INSERT ON audit
BEGIN
    DELETE FROM audit WHERE id <= new.id - 100000;
END;
