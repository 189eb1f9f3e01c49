# SPDX-License-Identifier: Apache-2.0
"""Databases of the schemas that Tetrad had: tests/unit/data/schemas has those that were released."""
import glob, os, sqlite3

from daemon import tap

DATA = os.path.join(tap.ROOT, "tests/unit/data/schemas")
MIGRATIONS = sorted(glob.glob(os.path.join(tap.ROOT, "schema/sql/[0-9]*.sql")))
NEWEST = len(MIGRATIONS)


def released():
    return sorted(int(os.path.basename(f)[:4]) for f in glob.glob(DATA + "/[0-9]*.sql"))


def make(path, version):
    """A database of that schema, in a folder."""
    nearest = max(v for v in released() if v <= version)
    db = sqlite3.connect(path + "/tetrad.db", isolation_level=None)
    with open(f"{DATA}/{nearest:04d}.sql") as sql:
        db.executescript(sql.read())
    for migration in MIGRATIONS[nearest:version]:
        with open(migration) as sql:
            db.executescript(f"BEGIN; {sql.read()} PRAGMA user_version = {int(os.path.basename(migration)[:4])}; COMMIT;")
    db.close()
