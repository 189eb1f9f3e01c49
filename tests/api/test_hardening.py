#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""What deploy/SECURITY.md promises of the process: what an address may take, when a stream ends, where tokens are never
found, who can read the files, which TLS is spoken."""
import http.client, io, json, os, resource, socket, subprocess, sys, threading, time

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path[:0] = [os.path.join(HERE, ".."), os.path.join(HERE, "..", "fault")]
import numpy as np
import tap
from daemon import FINAL, PATIENCE, Daemon, folder, start_process, until

DEFINITION = {"name": "hard", "dataset": {"name": "strokes", "train": 40, "test": 20},
              "network": {"layers": [{"units": 4}]}, "rule": {"name": "sal"}, "training": {"epochs": 1, "batch": 20}}


def ask(port, method, path, token=None, body=None, source="127.0.0.1", kind="application/json", **headers):
    """(status, JSON or bytes)"""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=PATIENCE, source_address=(source, 0))
    headers = {name.replace("_", "-"): value for name, value in headers.items()}
    if token:
        headers["Authorization"] = "Bearer " + token
    if body is not None:
        headers["Content-Type"] = kind
        body = body if isinstance(body, bytes) else json.dumps(body).encode()
    connection.request(method, path, body, headers)
    answer = connection.getresponse()
    data = answer.read()
    connection.close()
    return answer.status, json.loads(data) if "json" in answer.headers.get("Content-Type", "") else data


def make(port, user, role, by=None, **more):
    status, token = ask(port, "POST", "/v1/tokens", by, {"user": user, "role": role, **more})
    assert status == 201, token
    return token


def hold(port, text, source="127.0.0.1"):
    held = socket.create_connection(("127.0.0.1", port), PATIENCE, (source, 0))
    held.sendall(text.encode())
    return held


def listen(port, token=None, source="127.0.0.1"):
    """An event stream whose beginning has come."""
    stream = hold(port, "GET /v1/events HTTP/1.1\r\nHost: localhost\r\n" +
                  (f"Authorization: Bearer {token}\r\n" if token else "") + "\r\n", source)
    text = b""
    while b": tetrad" not in text and b"HTTP/1.1 200" in (text or b"HTTP/1.1 200"):
        data = stream.recv(4096)
        assert data, text
        text += data
    assert b": tetrad" in text, text
    return stream


def ends(stream):
    """Reads to the stream's end; the seconds that it took."""
    begun = time.monotonic()
    while stream.recv(4096):
        pass
    return time.monotonic() - begun


def goes_on(stream):
    """Heartbeats come, for longer than it takes to end one."""
    end = time.monotonic() + 2
    while time.monotonic() < end:
        if not stream.recv(4096):
            return False
    return True


def tetrad(*arguments, **more):
    return subprocess.run([tap.TETRAD, *arguments], capture_output=True, text=True, timeout=PATIENCE, **more)


def dataset():
    out = io.BytesIO()
    np.savez(out, x=np.random.RandomState(1).rand(50, 4).astype("f4"), t=np.arange(50) % 3)
    return out.getvalue()


def test_streams_end_with_their_token():
    with folder() as path, Daemon(path, TETRAD_HEARTBEAT="1") as daemon:
        alone = listen(daemon.port)  # while nobody needs a token
        admin = make(daemon.port, "root", "admin")["token"]
        assert ends(alone) < 10, "the first token did not end it"
        by_http, by_command = (make(daemon.port, "eve", "viewer", admin) for _ in range(2))
        soon = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(time.time() + 3))
        short = make(daemon.port, "eve", "viewer", admin, expires_at=soon)
        streams = [listen(daemon.port, t["token"]) for t in (by_http, by_command, short)]
        other = listen(daemon.port, admin)
        assert ask(daemon.port, "DELETE", f"/v1/tokens/{by_http['id']}", admin)[0] == 200
        assert ends(streams[0]) < 10
        assert tetrad("token", "revoke", str(by_command["id"]), "--db", daemon.database).returncode == 0
        assert ends(streams[1]) < 10
        assert ends(streams[2]) < 15
        assert ask(daemon.port, "GET", "/v1/events", short["token"])[0] == 401
        assert goes_on(other), "a stream of a good token ended"
        daemon.stop()


def test_wrong_tokens_of_an_address():
    """Ten at once; others are not held up by them, nor is who has a good one."""
    with folder() as path, Daemon(path) as daemon:
        admin = make(daemon.port, "root", "admin")["token"]
        tries = [ask(daemon.port, "GET", "/v1/me", "tet_" + "0" * 63 + str(i % 10), source="127.0.0.2")[0] for i in range(14)]
        assert tries[:10] == [401] * 10 and tries[-1] == 429, tries
        assert ask(daemon.port, "GET", "/v1/me", "tet_wrong", source="127.0.0.3")[0] == 401
        assert ask(daemon.port, "GET", "/v1/me", admin, source="127.0.0.2")[0] == 200
        assert ask(daemon.port, "GET", "/v1/me", source="127.0.0.2")[0] == 401  # no token is no wrong one
        assert ask(daemon.port, "GET", "/healthz", source="127.0.0.2")[0] == 200
        daemon.stop()


def test_share_of_an_address():
    """One address has its share, of requests and streams together; the others do not notice."""
    with folder() as path, Daemon(path, TETRAD_MAX_PER_ADDRESS="20") as daemon:
        held = [listen(daemon.port, source="127.0.0.2") for _ in range(10)]
        held += [hold(daemon.port, "GET /healthz HTTP/1.1\r\n", "127.0.0.2") for _ in range(10)]
        until("the share to be taken", lambda: ask(daemon.port, "GET", "/healthz", source="127.0.0.2")[0] == 503)
        for source in ("127.0.0.1", "127.0.0.3"):
            assert ask(daemon.port, "GET", "/healthz", source=source)[0] == 200
            assert ask(daemon.port, "GET", "/v1/queue", source=source)[0] == 200
        for one in held[:5]:
            one.close()
        for one in held[10:]:
            one.close()
        until("room again", lambda: ask(daemon.port, "GET", "/healthz", source="127.0.0.2")[0] == 200, 0.05)
        daemon.stop()
    with folder() as path:
        said = tetrad("serve", "--db", path + "/t.db", "--listen", "127.0.0.1:0", "--max-per-address", "0")
        assert said.returncode == 2 and "--max-per-address" in said.stderr, said


def test_a_lab_behind_one_proxy():
    """1,000 streams come from the proxy's address: as it is on this machine, and elsewhere where it was asked for."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if hard < 3000:
        raise tap.Skip(f"at most {hard} files may be open")
    resource.setrlimit(resource.RLIMIT_NOFILE, (3000, hard))
    for more in ({}, {"TETRAD_MAX_PER_ADDRESS": "1100"}):
        with folder() as path, Daemon(path, **more) as daemon:
            streams = [listen(daemon.port) for _ in range(1000)]
            assert ask(daemon.port, "GET", "/healthz")[0] == 200
            for one in streams:
                one.close()
            daemon.stop()
    resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


def test_idle_flood():
    """As many connections as there may be, which ask for nothing: who asks has an answer."""
    with folder() as path, Daemon(path, TETRAD_MAX_CONNECTIONS="50") as daemon:
        flood = [hold(daemon.port, "GET /he", "127.0.0.2") for _ in range(80)]
        time.sleep(0.4)
        for _ in range(100):
            assert ask(daemon.port, "GET", "/healthz")[0] == 200
        for one in flood:
            one.close()
        daemon.stop()


def find_text(path, texts):
    """Files below path that hold one of the texts."""
    found = []
    for place, _, names in os.walk(path):
        for name in names:
            with open(os.path.join(place, name), "rb") as file:
                data = file.read()
            found += [(name, text) for text in texts if text.encode() in data]
    return found


def test_tokens_are_nowhere():
    """Not in the database, its backups, exports, the log at its most talkative, or any reply but the first."""
    with folder() as path, Daemon(path, TETRAD_LOG="json", TETRAD_LOG_LEVEL="debug") as daemon:
        port, wrong = daemon.port, "tet_" + "5ec2e7" * 10
        admin = make(port, "root", "admin", note="of root")["token"]
        made = tetrad("token", "create", "--user", "cli", "--role", "member", "--db", daemon.database).stdout.strip()
        secrets = [admin, made, wrong, "c2VjcmV0OnNlY3JldA"]
        until("the token of the command line", lambda: ask(port, "GET", "/v1/me", made)[0] == 200)
        status, receipt = ask(port, "POST", "/v1/experiments", made, DEFINITION)
        assert status == 201, receipt
        until("the run", lambda: ask(port, "GET", "/v1/runs/1", admin)[1]["state"] in FINAL)
        replies = [ask(port, method, target, token, body, **headers) for token, headers in (
            (admin, {}), (made, {}), (wrong, {}), (None, {"Authorization": "Basic c2VjcmV0OnNlY3JldA=="}), (admin, {"Accept": "x"}))
            for method, target, body in (
                ("GET", "/v1/me", None), ("GET", "/v1/tokens", None), ("GET", "/v1/audit", None), ("GET", "/v1/users", None),
                ("POST", "/v1/experiments", {"name": 1}), ("POST", "/v1/admin/backup", {}), ("GET", "/nothing", None),
                ("PATCH", "/v1/me", None), ("GET", "/v1/runs/1?x=1", None), ("GET", "/metrics", None))]
        shown = json.dumps([str(reply) for reply in replies])
        assert not [secret for secret in secrets if secret in shown]
        with open(path + "/token", "w") as file:
            file.write(admin)
        exported = tetrad("export", "1", "--out", path + "/export", "--server", f"http://127.0.0.1:{port}", "--token-file", "-",
                          input=admin + "\n")
        assert exported.returncode == 0, exported
        os.remove(path + "/token")
        assert made not in exported.stderr + exported.stdout and admin not in exported.stderr + exported.stdout
        with open(f"/proc/{daemon.process.pid}/cmdline") as file:
            assert "tet_" not in file.read()
        daemon.stop()
        assert '"request"' in daemon.said(), "the log is silent"
        found = find_text(path, secrets)
        assert not found, found
        assert find_text(path, ["root"]), "the search finds nothing at all"


def test_nobody_else_reads_the_files():
    """Whatever the umask was: the database, uploads, backups by HTTP and by the command line, restored ones."""
    before = os.umask(0o022)
    try:
        with folder() as path, Daemon(path) as daemon:
            assert ask(daemon.port, "PUT", "/v1/datasets/mine", body=dataset(), kind="application/octet-stream")[0] == 201
            assert ask(daemon.port, "POST", "/v1/admin/backup", body={})[0] == 201
            assert tetrad("backup", path + "/copy.db", "--db", daemon.database).returncode == 0
            daemon.stop()
            assert tetrad("restore", path + "/copy.db", "--db", path + "/other.db").returncode == 0
            ours = [os.path.join(place, name) for place, folders, names in os.walk(path) for name in folders + names
                    if name != "stderr"]
            assert len(ours) > 8, ours
            open_to_others = [f for f in ours if os.stat(f).st_mode & 0o077]
            assert not open_to_others, open_to_others
    finally:
        os.umask(before)


def test_no_core():
    with folder() as path, Daemon(path) as daemon:
        with open(f"/proc/{daemon.process.pid}/limits") as file:
            line = next(line for line in file if line.startswith("Max core file size"))
        assert line.split()[4:6] == ["1", "1"], line
        daemon.stop()


def connects(port, *options):
    done = subprocess.run(["openssl", "s_client", "-connect", f"127.0.0.1:{port}", *options], input="", capture_output=True,
                          text=True, timeout=PATIENCE)
    return done.returncode == 0 and "Cipher is (NONE)" not in done.stdout


def test_tls():
    """1.2 and 1.3 with keys that are forgotten and ciphers that are authenticated; nothing else, whatever a client asks for."""
    weak = ["AES128-SHA", "AES128-GCM-SHA256", "ECDHE-{}-AES128-SHA", "ECDHE-{}-AES256-SHA384", "DHE-RSA-AES128-GCM-SHA256",
            "NULL", "aNULL", "CAMELLIA128-SHA", "PSK"]
    strong = ["ECDHE-{}-AES128-GCM-SHA256", "ECDHE-{}-AES256-GCM-SHA384", "ECDHE-{}-CHACHA20-POLY1305"]
    for kind, new in (("ECDSA", ["ec", "-pkeyopt", "ec_paramgen_curve:prime256v1"]), ("RSA", ["rsa:2048"])):
        with folder() as path:
            key, certificate = path + "/key.pem", path + "/certificate.pem"
            try:
                subprocess.run(["openssl", "req", "-x509", "-newkey", *new, "-nodes", "-days", "2", "-subj", "/CN=localhost",
                                "-keyout", key, "-out", certificate], check=True, capture_output=True)
            except FileNotFoundError:
                raise tap.Skip("no openssl")
            serve = start_process([tap.TETRAD, "serve", "--db", path + "/t.db", "--listen", "127.0.0.1:0", "--workers", "1", "--tls-cert",
                                   certificate, "--tls-key", key], stdout=subprocess.PIPE, text=True)
            port = int(serve.stdout.readline().split("https://")[1].split()[0].rsplit(":", 1)[1])
            low = ["-cipher", "ALL:COMPLEMENTOFALL@SECLEVEL=0"]
            assert connects(port, "-tls1_2") and connects(port, "-tls1_3")
            assert not connects(port, "-tls1_1", *low) and not connects(port, "-tls1", *low)
            for cipher in strong:
                assert connects(port, "-tls1_2", "-cipher", cipher.format(kind)), cipher
            for cipher in weak:
                assert not connects(port, "-tls1_2", "-cipher", cipher.format(kind) + "@SECLEVEL=0"), cipher
            serve.terminate()
            assert serve.wait(PATIENCE) == 0
            serve.stdout.close()


def test_put_beside_delete():
    """A dataset that somebody deletes at once was put all the same: 404 is no answer to PUT."""
    with folder() as path, Daemon(path) as daemon:
        content, answers, over = dataset(), [], threading.Event()

        def delete():
            while not over.is_set():
                ask(daemon.port, "DELETE", "/v1/datasets/gone")
        threads = [threading.Thread(target=delete) for _ in range(3)]
        for thread in threads:
            thread.start()
        end = time.monotonic() + 2
        while time.monotonic() < end:
            answers.append(ask(daemon.port, "PUT", "/v1/datasets/gone", body=content, kind="application/octet-stream")[0])
        over.set()
        for thread in threads:
            thread.join()
        assert set(answers) <= {200, 201} and 201 in answers, {status: answers.count(status) for status in answers}
        daemon.stop()


tap.run(globals())
