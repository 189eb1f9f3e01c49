#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""The command line client against a real daemon, and against servers that mean harm."""
import json, os, pty, ssl, subprocess, sys, tempfile, time

sys.path[:0] = [os.path.dirname(os.path.dirname(os.path.abspath(__file__))), os.path.dirname(os.path.abspath(__file__))]
import tap
from client import Server, environment, fake, tetrad

DEFINITION = {"name": "a\x1b[31mred\u009b", "tags": ["t"], "dataset": {"name": "strokes", "train": 200, "test": 50},
              "network": {"layers": [{"units": 8}]}, "rule": {"name": "sal"}, "training": {"epochs": 2, "batch": 20},
              "sweep": {"training.seed": [1, 2]}}
HOME = tempfile.mkdtemp(prefix="tetrad-test-")


def write(path, value):
    with open(path, "w") as f:
        f.write(value if isinstance(value, str) else json.dumps(value))
    return path


def test_commands():
    with Server() as s:
        file = write(s.path("d.json"), DEFINITION)
        assert tetrad("submit", file, "--dry-run", home=s.folder).stdout.startswith("fine: 2 runs, 40 steps")
        submitted = json.loads(tetrad("submit", file, "--json", "--idempotency-key", "k", home=s.folder).stdout)
        again = json.loads(tetrad("submit", file, "--json", "--idempotency-key", "k", home=s.folder).stdout)
        assert submitted["id"] == again["id"] == 1
        assert "2 of 2 runs done" in tetrad("watch", "1", home=s.folder).stderr
        lines = [json.loads(l) for l in tetrad("watch", "1", "--json", home=s.folder).stdout.splitlines()]
        assert lines[-1]["event"] == "end" and [r["state"] for r in lines[-1]["runs"]] == ["succeeded"] * 2
        assert "sal" in tetrad("watch", "r1", home=s.folder).stdout
        for command in (["list"], ["show", "1"], ["show", "r1"], ["summary", "1"]):
            shown = tetrad(*command, home=s.folder).stdout
            assert "\x1b" not in shown and "\u009b" not in shown, shown
            assert "\x1b" not in tetrad(*command, "--json", home=s.folder).stdout
        assert "a\\u001b[31mred\\u009b" in tetrad("list", "--tag", "t", home=s.folder).stdout
        assert json.loads(tetrad("list", "--json", home=s.folder).stdout)["experiments"][0]["name"] == DEFINITION["name"]
        assert json.loads(tetrad("list", "--json", "--q", "none", home=s.folder).stdout)["experiments"] == []
        assert "cancel run r1:" in tetrad("cancel", "r1", "1", home=s.folder).stdout
        assert "did you mean r1" in tetrad("rerun", "1", home=s.folder, status=2).stderr
        assert tetrad("show", "99", home=s.folder, status=7).stderr.count("\n") == 1
        assert "--yes" in tetrad("delete", "1", home=s.folder, status=2).stderr
        for bad in ("r0", "-1", "x", "1x", "r", "99999999999999999999"):
            tetrad("show", bad, home=s.folder, status=2)
        tetrad("priority", "1", "101", home=s.folder, status=2)
        forked = tetrad("fork", "r1", "--step", "10", "--changes", '{"optimizer.lr": 0.01}', "--watch", home=s.folder)
        assert "experiment 2, 1 run" in forked.stdout


def test_export():
    with Server() as s:
        file, out = write(s.path("d.json"), DEFINITION), s.path("out")
        tetrad("submit", file, "--watch", "--server", s.url, home=s.folder)
        tetrad("export", "1", "--out", out, "--server", s.url, home=s.folder)
        run = json.load(open(out + "/runs/1/run.json"))
        assert run["definition"] == json.load(open(out + "/runs/1/definition.json"))
        assert run["definition"]["name"] == DEFINITION["name"]  # as it was, not as a terminal shows it
        assert run["digest"] in open(out + "/README.md").read()
        assert run["digest"] in tetrad("run", out + "/runs/1/definition.json", home=s.folder).stdout
        ours, theirs = s.path("m.csv"), open(out + "/runs/1/metrics.csv").read().splitlines()
        tetrad("run", out + "/runs/1/definition.json", "--metrics", ours, home=s.folder)
        assert sorted(l.rsplit(",", 1)[0] for l in open(ours).read().splitlines()) == \
            sorted(l.rsplit(",", 1)[0] for l in theirs)
        assert sorted(os.listdir(out + "/runs/2")) == ["definition.json", "metrics.csv", "run.json", "weights.npz"]
        assert "not empty" in tetrad("export", "1", "--out", out, "--server", s.url, home=s.folder, status=9).stderr
        tetrad("export", "9", "--out", s.path("o2"), "--server", s.url, home=s.folder, status=7)
        assert not os.path.exists(s.path("o2")) and not os.path.exists(s.path("o2.part"))


def test_token():
    other, elsewhere, got = fake({})
    server, url, seen = fake({"/v1/experiments": (302, {"Location": elsewhere + "/v1/experiments"}, b""),
                              "/v1/queue": (200, {}, b'{"length":0,"workers":1}')})
    token = write(os.path.join(HOME, "token"), "tet_secret\n")
    assert "redirects" in tetrad("list", "--server", url, "--token-file", token, home=HOME, status=7).stderr
    assert got == [] and seen[0][2]["Authorization"] == "Bearer tet_secret"
    tetrad("queue", "--server", url, "--token-file", token, home=HOME, TETRAD_TOKEN="tet_other")
    assert seen[-1][2]["Authorization"] == "Bearer tet_secret"
    tetrad("queue", "--server", url, home=HOME, TETRAD_TOKEN="tet_other")
    assert seen[-1][2]["Authorization"] == "Bearer tet_other"
    tetrad("queue", "--server", url, home=HOME, status=2, TETRAD_TOKEN="a\r\nX: y")
    for flag in (["--token", "tet_secret"], ["--token=tet_secret"]):  # whoever asks for processes sees it
        said = tetrad("queue", "--server", url, *flag, home=HOME, status=2).stderr
        assert "--token-file" in said and "tet_secret" not in said, said
    server.shutdown(), other.shutdown()


def test_https():
    """A certificate that nobody has vouched for is refused, before a token is sent."""
    cert, key = os.path.join(HOME, "cert.pem"), os.path.join(HOME, "key.pem")
    try:
        subprocess.run(["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2", "-subj", "/CN=localhost",
                        "-addext", "subjectAltName=IP:127.0.0.1", "-keyout", key, "-out", cert], check=True,
                       capture_output=True)
    except FileNotFoundError:
        raise tap.Skip("no openssl")
    server, url, seen = fake({"/v1/queue": (200, {}, b'{"length":0,"workers":1}')})
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(cert, key)
    server.socket = context.wrap_socket(server.socket, server_side=True)
    url = url.replace("http:", "https:")
    assert "certificate" in tetrad("queue", "--server", url, home=HOME, status=7, TETRAD_TOKEN="x").stderr
    assert seen == []
    assert "0 queued" in tetrad("queue", "--server", url, "--ca", cert, home=HOME).stdout
    named = url.replace("127.0.0.1", "localhost")  # not a name of the certificate's
    tetrad("queue", "--server", named, "--ca", cert, home=HOME, status=7)
    server.shutdown()


def test_hostile_replies():
    evil = "\x1b]0;owned\x07\u009b2J\u202e"
    run = {"id": 1, "state": evil, "reason": evil, "parameters": {evil: evil}, "digest": evil, "progress": {"steps": -1}}
    server, url, _ = fake({"/v1/experiments/1": (200, {}, json.dumps({"id": 1, "name": evil, "runs": [run]}).encode()),
                           "/v1/experiments/2": (500, {}, json.dumps({"error": {"message": evil}}).encode()),
                           "/v1/experiments/3": (200, {}, b"<html>\x1b[2J</html>"),
                           "/v1/experiments/4": (200, {}, b"[" * 5000),
                           "/v1/experiments/5": (200, {}, b'[1,"x",null]')})
    for id, status in ((1, 0), (2, 7), (3, 7), (4, 7), (5, 0)):
        for json_too in ([], ["--json"]):
            done = tetrad("show", str(id), *json_too, "--server", url, home=HOME, status=status)
            for c in "\x1b\x07\u009b\u202e":
                assert c not in done.stdout + done.stderr, done
    server.shutdown()


def test_events():
    """The stream says when to read; the client does not wait for its own next look."""
    states = iter(["running", "running"])
    run = {"id": 7, "reason": None, "digest": None, "progress": {"step": 1, "steps": 10}}

    def state(_):
        return 200, {}, json.dumps({"id": 3, "runs": [{**run, "state": next(states, "succeeded")}]}).encode()

    def events(handler):
        handler.send_response(200)
        handler.send_header("Content-Type", "text/event-stream")
        handler.end_headers()
        for piece in (b": heartbeat\n\nid: 1\nevent: prog", b'ress\ndata: {"runs":[{"run":7,"step":5}]}\n\n', b"",
                      b'event: state\r\ndata: {"run":7,\ndata: "state":"succeeded"}\r\n\r\n'):
            handler.wfile.write(piece)
            time.sleep(1.2 if piece == b"" else 0.1)
        handler.connection.settimeout(10)
        handler.connection.recv(1)  # until the client goes, which has heard the end
        return 200, {}, b""

    server, url, seen = fake({"/v1/experiments/3": state, "/v1/events": events})
    begin = time.time()
    done = tetrad("watch", "3", "--json", "--server", url, home=HOME)
    lines = [json.loads(l) for l in done.stdout.splitlines()]
    assert [l["event"] for l in lines] == ["state", "progress", "state", "end"], lines
    assert lines[1]["runs"][0]["step"] == 5 and time.time() - begin < 5
    assert [p for _, p, _, _ in seen if "events" in p] == ["/v1/events?types=state,progress&experiment=3"]
    server.shutdown()


def test_terminal():
    with Server() as s:
        file = write(s.path("d.json"), {**DEFINITION, "training": {"epochs": 100000}})
        pid, fd = pty.fork()
        if pid == 0:
            os.execve(tap.TETRAD, [tap.TETRAD, "submit", file, "--watch", "--server", s.url],
                      environment(s.folder, TERM="xterm"))
        text = b""
        while b"left" not in text:
            text += os.read(fd, 4096)
        os.write(fd, b"\x03")
        try:
            while more := os.read(fd, 4096):
                text += more
        except OSError:
            pass
        assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 130
        assert b"\r0 of 2 runs done [" in text and b"tetrad watch 1 --server" in text, text
        assert b"cancel experiment 1:" in tetrad("cancel", "1", "--server", s.url, home=s.folder).stdout.encode()


def test_manual_and_completions():
    names = [l.split()[1] for l in tetrad("help", home=HOME).stdout.splitlines() if l.startswith("  tetrad ")]
    assert {"submit", "watch", "export", "serve"} <= set(names)
    for form in ("man", "bash", "zsh", "fish"):
        text = tetrad("completion", form, home=HOME).stdout.replace("\\-", "-")
        for name in set(names) - {"version"}:
            assert name in text, (form, name)
            flags = [w.split()[0] for w in tetrad("help", name, home=HOME).stdout.split("\n  --")[1:]]
            for flag in flags:
                assert ("-l " if form == "fish" else "--") + flag in text, (form, name, flag)
    bash = tetrad("completion", "bash", home=HOME).stdout
    assert subprocess.run(["bash", "-n"], input=bash, text=True).returncode == 0
    try:
        lint = subprocess.run(["mandoc", "-T", "lint", "-W", "error"], capture_output=True, text=True,
                              input=tetrad("completion", "man", home=HOME).stdout)
    except FileNotFoundError:
        raise tap.Skip("no mandoc")
    assert lint.returncode == 0, lint.stdout


tap.run(globals())
