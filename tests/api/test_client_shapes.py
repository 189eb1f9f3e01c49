#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""What the client sends and makes of the replies, against a server in Python that answers as the interface says."""
import io, json, os, sys, tempfile, zipfile

sys.path[:0] = [os.path.dirname(os.path.dirname(os.path.abspath(__file__))), os.path.dirname(os.path.abspath(__file__))]
import tap
from client import fake, tetrad

HOME = tempfile.mkdtemp(prefix="tetrad-test-")


def answer(value, status=200):
    return status, {}, json.dumps(value).encode()


def test_actions():
    server, url, seen = fake({
        "/v1/runs/7/priority": answer({"run": 7, "queued": 1}), "/v1/experiments/3/pause": answer({"queued": 2}),
        "/v1/experiments/3": answer({"experiment": 3, "runs": 4, "freed_bytes": 1000}),
        "/v1/experiments/4": answer({"error": {"code": "conflict", "message": "a run is running"}}, 409)})
    tetrad("priority", "r7", "-5", "--server", url, home=HOME)
    assert seen[-1][:2] == ("POST", "/v1/runs/7/priority") and json.loads(seen[-1][3]) == {"priority": -5}
    assert "pause experiment 3: queued 2" in tetrad("pause", "3", "--server", url, home=HOME).stdout
    done = tetrad("delete", "4", "3", "--yes", "--server", url, home=HOME, status=7)
    assert "a run is running" in done.stderr and "runs 4, freed_bytes 1000" in done.stdout  # goes on
    assert seen[-1][0] == "DELETE" and seen[-1][3] == b""
    done = json.loads(tetrad("delete", "4", "3", "--yes", "--json", "--server", url, home=HOME, status=7).stdout)
    assert [r["status"] for r in done["results"]] == [409, 200]
    server.shutdown()


def test_queue():
    server, url, seen = fake({"/v1/queue": answer({
        "length": 1, "workers": 2, "running": [{"run": 5, "experiment": 2, "owner": "ana", "worker": 1, "eta_s": None}],
        "queued": [{"position": 1, "run": 7, "experiment": 3, "owner": "ben", "priority": -3,
                    "estimated_start_at": "2026-01-31T12:00:00.000Z"}], "next": None})})
    out = tetrad("queue", "--limit", "5", "--server", url, home=HOME).stdout
    assert seen[-1][1] == "/v1/queue?limit=5"
    assert "r5" in out and "ana" in out and "r7" in out and "priority -3, starts 2026-01-31T12:00:00" in out
    server.shutdown()


def test_rerun():
    rerun = {"of": 7, "agrees": True, "first_differing_step": None, "first_differing_series": None}
    run = {"id": 9, "state": "succeeded", "digest": "sha256:" + "0" * 64, "progress": {"step": 5, "steps": 5},
           "parameters": {}, "definition": {}, "rerun": rerun}
    replies = {"/v1/runs/7/rerun": answer({"id": 4, "run_count": 1, "first_run": 9, "queue_position": 0}, 201),
               "/v1/experiments/4": answer({"id": 4, "runs": [run]}), "/v1/runs/9": answer(run),
               "/v1/runs/9/metrics": answer({"series": {}, "next": 0, "more": False})}
    server, url, seen = fake(replies)
    assert "the digests agree" in tetrad("rerun", "r7", "--watch", "--server", url, home=HOME).stdout
    rerun.update(agrees=False, first_differing_step=3, first_differing_series="train/loss")
    replies["/v1/runs/9"] = answer(run)
    done = tetrad("rerun", "r7", "--watch", "--server", url, home=HOME, status=1)
    assert "first at step 3 in train/loss" in done.stdout
    server.shutdown()


def test_import():
    server, url, seen = fake({"/v1/import": answer({"experiment": 5, "runs": [{"run": 11, "was": 7}]}, 201)})
    folder = tempfile.mkdtemp(dir=HOME)
    os.makedirs(folder + "/runs/7"), os.makedirs(folder + "/runs/..x")
    for name in ("experiment.json", "runs/7/run.json", "runs/7/definition.json", "secret", "runs/..x/run.json"):
        with open(os.path.join(folder, name), "w") as f:
            f.write("{}")
    assert tetrad("import", folder, "--server", url, home=HOME).stdout == "experiment 5\n  r11 was r7\n"
    assert seen[-1][2]["Content-Type"] == "application/zip"
    names = set(zipfile.ZipFile(io.BytesIO(seen[-1][3])).namelist())
    assert names == {"experiment.json", "runs/7/run.json", "runs/7/definition.json"}, names
    os.symlink(os.path.join(folder, "secret"), folder + "/runs/7/weights.npz")
    assert "no regular file" in tetrad("import", folder, "--server", url, home=HOME, status=9).stderr
    os.remove(folder + "/experiment.json")
    assert "is it an export?" in tetrad("import", folder, "--server", url, home=HOME, status=9).stderr
    server.shutdown()


def test_busy():
    tries = iter([(503, {"Retry-After": "1"}, b'{"error":{"message":"busy"}}')])
    server, url, seen = fake({"/v1/experiments": lambda _: next(tries, answer({"id": 1, "run_count": 1}, 201)),
                              "/v1/queue": (429, {"Retry-After": "3600"}, b'{"error":{"message":"too many"}}')})
    tetrad("submit", "-", "--server", url, home=HOME)
    keys = [h["Idempotency-Key"] for _, p, h, _ in seen]
    assert len(keys) == 2 and keys[0] == keys[1]
    assert "too many" in tetrad("queue", "--server", url, home=HOME, status=7).stderr
    server.shutdown()


tap.run(globals())
