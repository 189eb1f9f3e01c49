#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""Each file operation of a server's day fails in turn: no room (ENOSPC), an error (EIO), a signal (EINTR), a write that
writes half. The server lives on, or ends with a message and starts again; nothing acknowledged is lost, nothing is stuck,
digests are an undisturbed server's, and so are the files in its folder.

Drawn by TETRAD_SEED, within 10 s (6 of the daemon with sanitizers), or with TETRAD_SOAK=1 within MINUTES (12): every
third is one of SQLite's many writes and reads. CASE=kind:nth:error:mode is one case alone."""
import errno, os, random, sys, time

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
import faults
from faults import FROM_THEN_ON, NAMES, ONCE, SANITIZED, SHORT, Daemon, Day, Faults, finish, folder, note
from daemon import SEED, SOAK, tap, until

SECONDS = 60 * float(os.environ.get("MINUTES") or 12) if SOAK else 6.0 if SANITIZED else 10.0
ERRORS = {name: value for name, value in
          (("ENOSPC", errno.ENOSPC), ("EIO", errno.EIO), ("EINTR", errno.EINTR), ("SHORT", SHORT))}
ALLOWED = {"open": ("ENOSPC", "EIO", "EINTR"), "write": ("ENOSPC", "EIO", "EINTR", "SHORT"), "sync": ("EIO", "ENOSPC"),
           "rename": ("ENOSPC", "EIO"), "truncate": ("ENOSPC", "EIO", "EINTR"), "make": ("ENOSPC", "EIO"),
           "remove": ("EIO",), "read": ("EIO", "EINTR")}
MANY = ("db-write", "db-read")
rng = random.Random(SEED)


def all_cases(counts):
    """(all but SQLite's writes and reads, those): (kind, nth, error, mode)."""
    few, many = [], []
    for kind, name in enumerate(NAMES):
        for error in ALLOWED[name.removeprefix("db-")]:
            for nth in range(1, counts[kind] + 1):
                (many if name in MANY else few).append((name, nth, error, ONCE))
                if error in ("ENOSPC", "EIO") and name.removeprefix("db-") != "read":
                    (many if name in MANY else few).append((name, nth, error, FROM_THEN_ON))
    return few, many


def drawn(counts):
    """One kind after the other, so that a short test sees all of them."""
    few, many = all_cases(counts)
    if SOAK:
        rng.shuffle(few), rng.shuffle(many)
        return [case for i in range(0, len(few), 2) for case in few[i:i + 2] + many[i // 2:i // 2 + 1]]
    by_kind = {}
    for case in few + many:
        by_kind.setdefault(case[0], []).append(case)
    for cases in by_kind.values():
        rng.shuffle(cases)
    kinds = list(by_kind)
    rng.shuffle(kinds)
    return [by_kind[k].pop() for _ in range(100) for k in kinds if by_kind[k]]


def message_of(d, said_before):
    """What a server that ended by itself has said; a crash is no message."""
    status = d.wait(20)
    said = d.said()[said_before:]
    assert status > 0, f"the server died of signal {-status}: {said}"
    assert "Sanitizer" not in said and said.strip(), f"status {status}, and it said: {said!r}"
    return said


def one(case, want):
    """How it went: "unseen", "lived" or "ended"."""
    name, nth, error, mode = case
    with folder() as path, folder() as aside:
        controls, day = Faults(path, aside), Day(path)
        controls.arm(NAMES.index(name), nth, ERRORS[error], mode)
        how, alive = "ended", False
        with Daemon(path, wait=False, **controls.environment) as d:
            try:
                d.wait_ready()
                d.client.port = d.port
                alive = day.go(d.client, 1.0 if mode == FROM_THEN_ON else 30.0)
            except AssertionError as why:
                if "did not start" not in str(why):
                    raise
            fired, told = controls.control.fired, dict(day.told)
            controls.disarm()
            if alive and fired:
                until("the disks to be well again", lambda: d.client.ask("GET", "/readyz")[0] == 200)
                day.check_kept(d.client)
                assert day.go(d.client), f"it went when nothing failed any more: {day.told}"
                how = "lived"
            if alive:
                d.stop()
            else:
                message_of(d, 0)
        if not fired:
            return "unseen"
        if error in ("EINTR", "SHORT") and name != "open":  # no error: there is more to do, and nobody sees it
            assert how == "lived" and not told, f"a call that was to be made again was not: {told or how}"
        finish(day)
        day.check_end(want)
    return how


def test_every_operation_fails_in_turn():
    want, counts, _, took = faults.undisturbed()
    begun, seen, failed = time.monotonic(), {}, []
    cases = drawn(counts)
    if os.environ.get("CASE"):
        name, nth, error, mode = os.environ["CASE"].split(":")
        cases = [(name, int(nth), error, int(mode))]
    for case in cases:
        if time.monotonic() - begun > SECONDS or len(failed) > 200:
            break
        start = time.monotonic()
        try:
            how = one(case, want)
            if time.monotonic() - start > 20:
                note(f"CASE={':'.join(map(str, case))} took {time.monotonic() - start:.0f} s")
        except Exception as why:
            if os.environ.get("CASE"):
                raise
            how = "failed"
            failed.append(case)
            note(f"CASE={':'.join(map(str, case))}: {type(why).__name__}: {str(why)[:1500]}")
        seen[how] = seen.get(how, 0) + 1
    few, many = all_cases(counts)
    note(f"seed {SEED}: {len(few)} cases, {len(many)} in SQLite's reads and writes; tried in {time.monotonic() - begun:.0f} s "
         f"(a day takes {took:.1f} s): " + ", ".join(f"{n} {how}" for how, n in sorted(seen.items())))
    assert not failed, f"{len(failed)} cases failed"
    assert seen.get("lived", 0) > 0, "no fault was survived"


tap.run(globals())
