#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""A lab's day by the command line, against a real server: its queue, its datasets, its tokens, watching over a restart."""
import json, os, random, re, socket, subprocess, sys, time

sys.path[:0] = [os.path.dirname(os.path.dirname(os.path.abspath(__file__))), os.path.dirname(os.path.abspath(__file__))]
import tap
from client import Server, environment

QUICK = {"dataset": {"name": "strokes", "train": 200, "test": 50}, "network": {"layers": [{"units": 8}]},
         "rule": {"name": "sal"}, "training": {"epochs": 2, "batch": 20}}
ENDLESS = {**QUICK, "training": {"epochs": 100000}}


def test_queue():
    """One worker: a run that trains, and two that wait, in the order that priorities make."""
    with Server() as s:
        first, second, third = (s.submit(ENDLESS) for _ in range(3))
        s.await_state("r1", "running")
        assert [q["run"] for q in s.json("queue")["queued"]] == [2, 3]
        assert "priority experiment 3: " in s.tetrad("priority", "3", "50")
        queue = s.json("queue")
        assert [(q["run"], q["priority"]) for q in queue["queued"]] == [(3, 50), (2, 0)], queue
        assert [q["run"] for q in queue["running"]] == [1] and queue["workers"] == 1
        lines = s.tetrad("queue").splitlines()
        assert lines[0] == "2 queued, 1 workers" and [l.split()[1] for l in lines[1:]] == ["r1", "r3", "r2"], lines
        assert lines[2].split()[:2] == ["1", "r3"] and "priority 50, starts 20" in lines[2]

        paused = s.tetrad("pause", "r1")
        assert paused == "pause run r1: queued 0, running 1, finished 0\n", paused
        s.await_state("r1", "paused")
        s.await_state("r3", "running")  # what is first in the queue has the worker
        assert "resume run r1:" in s.tetrad("resume", "r1")
        s.await_state("r1", "queued")
        assert "409" in s.refused("delete", "3", "--yes")  # it trains
        assert s.tetrad("cancel", "2", "3").count("\n") == 2
        s.await_state("r1", "running")
        assert s.json("show", "r3")["state"] == s.json("show", "2")["state"] == "cancelled"
        done = s.json("delete", "2", "3", "--yes")["results"]
        assert [(d["id"], d["status"], d["reply"]["runs"]) for d in done] == [("2", 200, 1), ("3", 200, 1)], done
        assert "404" in s.refused("show", "3") and "404" in s.refused("cancel", "r3")
        assert [e["id"] for e in s.json("list")["experiments"]] == [1]
        s.tetrad("cancel", "r1")
        assert s.json("list", "--state", "cancelled")["experiments"][0]["id"] == 1
        s.tetrad("watch", "1", status=1)


def test_again():
    """Reruns and forks come to their original's digest; a run that was cancelled has none."""
    with Server() as s:
        run = s.json("show", "r%d" % s.done({**QUICK, "record": {"keep": 100}})["runs"][0]["id"])
        done = s.tetrad("rerun", "r1", "--watch")
        assert done.endswith(f"the digests agree: {run['digest']}\n"), done
        again = s.json("show", "r2")
        assert again["rerun"] == {"of": 1, "agrees": True, "first_differing_step": None, "first_differing_series": None}
        lines = s.tetrad("rerun", "r1", "--watch", "--json").splitlines()
        assert json.loads(lines[-1])["rerun"]["agrees"] is True
        s.tetrad("fork", "r1", "--step", "10", "--watch")
        forked = s.json("show", "r4")
        assert forked["digest"] == run["digest"] and forked["definition"]["fork"]["run"] == 1
        s.tetrad("fork", "r1", "--step", "10", "--changes", s.write("changes.json", {"optimizer.lr": 0.5}), "--watch")
        assert s.json("show", "r5")["digest"] != run["digest"]
        assert "a kept checkpoint: 10, 20" in s.refused("fork", "r1", "--step", "11", status=3)
        endless = s.submit(ENDLESS)
        assert "409" in s.refused("rerun", "r6", "--watch")
        s.tetrad("cancel", str(endless))


def test_summary():
    with Server() as s:
        e = s.done({**QUICK, "sweep": {"rule.name": ["sal", "bp"], "optimizer.lr": [0.05, 0.1], "training.seed": [1, 2, 3]}})
        id = str(e["id"])
        summary = s.json("summary", id, "--metric", "test/loss", "--baseline", "rule.name:bp")
        assert summary["metric"] == "test/loss" and summary["baseline"] == {"rule.name": "bp"}
        points = {(p["parameters"]["rule.name"], p["parameters"]["optimizer.lr"]): p for p in summary["points"]}
        for lr in (0.05, 0.1):  # a point is compared with the one that differs in nothing else
            d = points["sal", lr]["difference"]
            assert summary["points"][d["baseline"]] == points["bp", lr] and points["bp", lr]["difference"] is None
            assert abs(d["mean"] - (points["sal", lr]["mean"] - points["bp", lr]["mean"])) < 1e-9
        one = s.json("summary", id, "--baseline", "rule.name:bp,optimizer.lr:0.1")
        assert one["baseline"] == {"rule.name": "bp", "optimizer.lr": 0.1}
        shown = s.tetrad("summary", id, "--baseline", "rule.name:bp")
        assert shown.count("n 3") == 4 and len(re.findall(r"^  n 3 .*\]; ", shown, re.M)) == 2, shown
        assert "path:value" in s.refused("summary", id, "--baseline", "rule.name=bp", status=2)
        wrong = s.refused("summary", id, "--baseline", "rule.name:wm", status=2)
        assert "400" in wrong and wrong.count("\n") == 1, wrong
        assert "rule.name:bp" in s.tetrad("help", "summary")


def test_watch_by_events():
    """Progress comes from the stream, and what was said of it holds over a restart of the server."""
    with Server() as s:
        s.submit({**QUICK, "training": {"epochs": 100000, "batch": 20}})
        watch = subprocess.Popen([tap.TETRAD, "watch", "1", "--json"], stdout=subprocess.PIPE, stderr=subprocess.PIPE,
                                 text=True, env=environment(s.folder))
        steps = []

        def until(kind):
            while line := watch.stdout.readline():
                event = json.loads(line)
                if event["event"] == "progress":
                    steps.append(event["runs"][0]["step"])
                if event["event"] == kind:
                    return event
            raise AssertionError((kind, watch.stderr.read()))

        until("progress")  # only the stream has these
        s.restart()
        before = len(steps)
        until("progress")
        until("progress")
        assert len(steps) == before + 2 and watch.poll() is None
        begin = time.time()
        s.tetrad("cancel", "r1")
        end = until("end")
        assert end["runs"][0]["state"] == "cancelled" and time.time() - begin < 5  # REREAD_S is 10
        assert watch.wait(10) == 1
        watch.stdout.close(), watch.stderr.close()


def test_watch_while_it_is_away():
    """What ends while the client has no server is told when it has one again."""
    with Server() as s:
        s.submit({**QUICK, "training": {"epochs": 20000, "batch": 20}, "optimizer": {"lr": 0.001}})
        s.await_state("r1", "running")
        watch = subprocess.Popen([tap.TETRAD, "watch", "r1"], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
                                 env=environment(s.folder))
        first = watch.stderr.readline()  # it has read the experiment
        address = s.url.removeprefix("http://").split(":")
        s.stop()
        with socket.create_server((address[0], int(address[1]))) as nobody:
            nobody.settimeout(30)
            for _ in range(2):  # it asks, and asks again
                nobody.accept()[0].close()
        assert watch.poll() is None
        s.start(s.url.removeprefix("http://"))
        out, err = watch.communicate(timeout=120)
        assert watch.returncode == 0 and "sal" in out, (out, first + err)
        assert s.json("show", "r1")["state"] == "succeeded"


def table(n, seed):
    draw = random.Random(seed)
    rows = [(draw.random(), draw.random()) for _ in range(n)]
    return "a,b,class\n" + "".join(f"{a:.6f},{b:.6f},{int(a > b)}\n" for a, b in rows)


def test_datasets():
    with Server() as s:
        s.write("t.csv", table(100, 1))
        upload = ("dataset", "upload", s.path("t.csv"), "--name", "table", "--label", "class", "--test-fraction", "0.2")
        assert re.match(r"table: csv, 80 to train on, 20 to test on, 2 inputs, 2 outputs, uploaded by local\n", s.tetrad(*upload))
        there = s.json("dataset", "list")["datasets"]
        mine = next(d for d in there if d["name"] == "table")
        assert {"strokes", "table"} <= {d["name"] for d in there} and mine["train"] == 80 and len(mine["sha256"]) == 71
        assert s.json(*upload) == mine  # the same again changes nothing
        assert "strokes: " in s.tetrad("dataset", "list")
        e = s.done({**QUICK, "dataset": {"name": "table"}})
        run = s.json("show", "r%d" % e["runs"][0]["id"])
        assert run["definition"]["dataset"]["sha256"] == mine["sha256"] and mine["sha256"] in s.tetrad("show", "r1")
        s.tetrad("export", "1", "--out", s.path("out"))
        readme = open(s.path("out/README.md")).read()
        assert f"- dataset `table`, `{mine['sha256']}`\n" in readme and "`--data DIR`" in readme
        s.write("t.csv", table(100, 2))
        assert "409" in s.refused(*upload) or "another" in s.refused(*upload)
        endless = s.submit({**ENDLESS, "dataset": {"name": "table"}, "training": {"epochs": 100000, "batch": 1},
                            "optimizer": {"lr": 0.0001}, "record": {"every": 0, "checkpoint_epochs": 1000}})
        s.await_state("r2", "running")
        assert "409" in s.refused("dataset", "delete", "table")  # in use
        s.tetrad("cancel", str(endless))
        s.await_state("r2", "cancelled")
        for _ in range(100):
            if not next(d for d in s.json("dataset", "list")["datasets"] if d["name"] == "table")["in_use"]:
                break
            time.sleep(0.05)
        assert s.tetrad("dataset", "delete", "table") == "table is deleted\n"
        assert "404" in s.refused("dataset", "delete", "table")
        assert "table" in s.refused("rerun", "r1")  # and says which dataset is missing
        s.refused("dataset", "delete", "../t.db", status=2)
        s.refused("dataset", "upload", s.path("none.csv"), "--name", "x", status=9)
        s.refused("dataset", "upload", s.path("t.csv"), status=2)
        assert "422" in s.refused("dataset", "upload", s.write("bad.csv", "x\n"), "--name", "bad", status=4)
        assert [d["name"] for d in s.json("dataset", "list")["datasets"]] == ["strokes"]


def test_tokens():
    """With a token in the database everybody needs one, and acts on their own."""
    with Server() as s:
        make = lambda user, role: s.tetrad("token", "create", "--db", s.path("t.db"), "--user", user, "--role", role)
        for user, role in (("ana", "member"), ("ben", "member"), ("eve", "viewer")):
            s.write(user, make(user, role))
        for _ in range(100):  # the server looks at what another program has written now and then
            if "401" in tetrad_error(s):
                break
            time.sleep(0.05)
        asked = s.refused("list")
        assert "401" in asked and "--token-file" in asked, asked
        s.write("wrong", "tet_" + "A" * 43)
        assert "401" in s.refused("list", "--token-file", s.path("wrong"))
        assert "401" in s.refused("dataset", "list", "--token-file", s.path("wrong"))
        as_user = lambda user: ("--token-file", s.path(user))
        s.submit(ENDLESS, *as_user("ana"))
        shown = s.tetrad("list", "--owner", "ana", TETRAD_TOKEN_FILE=s.path("ben"))
        assert "ana" in shown.splitlines()[1]
        for command in (("cancel", "1"), ("priority", "1", "5"), ("delete", "1", "--yes"), ("pause", "r1")):
            assert "403" in s.refused(*command, *as_user("ben")), command
        assert "403" in s.refused("submit", s.path("definition.json"), *as_user("eve"))
        assert "ana" in s.tetrad("queue", *as_user("eve"))
        assert s.tetrad("cancel", "1", TETRAD_TOKEN=open(s.path("ana")).read().strip()).startswith("cancel experiment 1:")
        s.write("t.csv", table(50, 1))
        upload = ("dataset", "upload", s.path("t.csv"), "--name", "t", "--label", "class", "--test-fraction", "0.2")
        assert "403" in s.refused(*upload, *as_user("eve"))
        assert "uploaded by ana" in s.tetrad(*upload, *as_user("ana"))
        assert "403" in s.refused("dataset", "delete", "t", *as_user("ben"))
        s.write(".config/tetrad/config", f"server = {s.url}\ntoken-file = {s.path('ana')}\n")
        assert s.tetrad("dataset", "delete", "t") == "t is deleted\n"
        s.tetrad("token", "revoke", "1", "--db", s.path("t.db"))
        for _ in range(100):
            if "401" in tetrad_error(s):
                return
            time.sleep(0.05)
        raise AssertionError("a revoked token is still good")


def tetrad_error(s):
    return subprocess.run([tap.TETRAD, "list"], capture_output=True, text=True, env=environment(s.folder)).stderr


tap.run(globals())
