#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""A real nginx with deploy/nginx.conf in front of a real daemon, in a network of their own: TLS, HTTP/2, event streams,
uploads, and whose address counts."""
import contextlib, http.client, json, os, shutil, socket, ssl, subprocess, sys, time

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
import lab
from roots import inside, own_network, prepare, root, tap
from daemon import folder, start_process, until

NAME = "lab.example.org"
CERTIFICATE, KEY = f"/etc/ssl/certs/{NAME}.pem", f"/etc/ssl/private/{NAME}.key"
shared = {}


def certificate(path):
    subprocess.run(["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes", "-days",
                    "2", "-subj", f"/CN={NAME}", "-addext", f"subjectAltName=DNS:{NAME}", "-out", path + ".pem",
                    "-keyout", path + ".key"], check=True, capture_output=True)


def start_daemon(path, *options):
    process = start_process([tap.TETRAD, "serve", "--db", path + "/tetrad.db", "--data", path, "--listen", "127.0.0.1:8080",
                             "--host", NAME, "--log-level", "error", *options], stdout=subprocess.PIPE, text=True,
                            env={"HOME": path, "PATH": os.environ["PATH"]})
    assert " serves http://" in process.stdout.readline()
    return process


def start():
    """nginx of Debian, as its package starts it but for the daemon's part; the server beside it."""
    path = shared["stack"].enter_context(folder())
    system = shared["system"] = shared["stack"].enter_context(root(prepare()))
    system.run("apt-get", "update")
    with open(system.at("/usr/sbin/policy-rc.d"), "w") as policy:
        policy.write("#!/bin/sh\nexit 101\n")
    os.chmod(system.at("/usr/sbin/policy-rc.d"), 0o755)
    system.run("apt-get", "install", "-y", "--no-install-recommends", "nginx-light")
    shutil.copy(os.path.join(tap.ROOT, "deploy", "nginx.conf"), system.at("/etc/nginx/conf.d/tetrad.conf"))
    with contextlib.suppress(FileNotFoundError):
        os.remove(system.at("/etc/nginx/sites-enabled/default"))
    certificate(path + "/lab")
    for name, place in ((".pem", CERTIFICATE), (".key", KEY)):
        os.makedirs(os.path.dirname(system.at(place)), exist_ok=True)
        shutil.copy(path + "/lab" + name, system.at(place))
    shared["pem"] = path + "/lab.pem"
    subprocess.run([tap.TETRAD, "token", "create", "--user", "admin", "--role", "admin", "--db", path + "/tetrad.db"],
                   check=True, stdout=open(path + "/token", "w"), stderr=subprocess.DEVNULL)
    with open(path + "/token") as file:
        shared["token"] = file.read().strip()
    shared["network"] = shared["stack"].enter_context(own_network())
    shared["path"] = path
    with inside(shared["network"]):
        shared["daemon"] = start_daemon(path, "--proxy", "127.0.0.1")
    system.run("nginx", "-t", network=shared["network"])
    shared["nginx"] = system.start(["nginx", "-g", "daemon off;"], network=shared["network"])
    shared["stack"].callback(lambda: (shared["nginx"].terminate(), shared["nginx"].wait(30)))
    until("nginx to answer", lambda: reachable(443), 0.05)


def reachable(port):
    with inside(shared["network"]), contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), 1):
        return True


def need():
    if "nginx" not in shared:
        raise tap.Skip("nginx is not there")


def connect(source="127.0.0.1"):
    """A TLS connection to the proxy by its name, from an address of loopback's 16 million."""
    context = ssl.create_default_context(cafile=shared["pem"])
    plain = socket.create_connection(("127.0.0.1", 443), timeout=60, source_address=(source, 0))
    return context.wrap_socket(plain, server_hostname=NAME)


def ask(method, path, body=None, source="127.0.0.1", token=None, port=None, **headers):
    """(status, headers, body) by the proxy, or by the server itself where a port is given."""
    headers = {"Host": NAME, "Authorization": f"Bearer {token or shared['token']}",
               **{name.replace("_", "-"): value for name, value in headers.items()}}
    with inside(shared["network"]):
        client = http.client.HTTPConnection(NAME, timeout=60)
        client.sock = (connect(source) if port is None
                       else socket.create_connection(("127.0.0.1", port), timeout=60, source_address=(source, 0)))
        try:
            client.request(method, path, body, headers)
            reply = client.getresponse()
            return reply.status, dict(reply.headers), reply.read()
        finally:
            client.close()


def test_proxy_starts():
    """deploy/nginx.conf as it is, with a certificate where it looks for one."""
    start()
    status, headers, body = ask("GET", "/v1/me")
    assert status == 200 and json.loads(body)["role"] == "admin", (status, body)
    assert headers["Strict-Transport-Security"], headers
    assert b"<script" in ask("GET", "/")[2]
    status, headers, _ = ask("GET", "/v1/queue?x=1", port=80)
    assert status == 301 and headers["Location"] == f"https://{NAME}/v1/queue?x=1", headers


def test_protocols():
    """HTTP/2 where the client has it; TLS 1.1 is refused."""
    need()
    with inside(shared["network"]):
        resolve = ["curl", "-sS", "--resolve", f"{NAME}:443:127.0.0.1", "--cacert", shared["pem"], "-H",
                   f"Authorization: Bearer {shared['token']}", "-o", "/dev/null", "-w", "%{http_version} %{http_code}"]
        said = subprocess.run([*resolve, "--http2", f"https://{NAME}/v1/experiments"], capture_output=True, text=True)
        assert said.stdout == "2 200", said
        said = subprocess.run([*resolve, "--tls-max", "1.1", f"https://{NAME}/healthz"], capture_output=True, text=True)
        assert said.returncode != 0 and said.stdout.endswith("000"), said


def test_pages_of_other_origins_are_refused():
    need()
    assert ask("GET", "/v1/me", Origin=f"https://{NAME}")[0] == 200
    assert ask("GET", "/v1/me", Origin="https://elsewhere.example")[0] == 403
    assert ask("GET", "/v1/me", Host="elsewhere.example")[0] in (400, 403)


def hear(stream, seen, *marks):
    """What has come of a stream, once it holds all marks; heartbeats alone do not count."""
    deadline = time.monotonic() + 60
    while not all(mark in seen for mark in marks):
        piece = stream.recv(65536)
        assert piece and time.monotonic() < deadline, (marks, seen[-2000:])
        seen += piece
    return seen


def test_events_come_one_by_one():
    """Each event when it is there and not when a buffer is full: the state of a run is seen while it is trained."""
    need()
    definition = {**lab.SMALL, "rule": {"name": "bp"}, "optimizer": {"lr": 0.001}, "training": {"epochs": 100000}}
    with inside(shared["network"]):
        stream = connect()
        stream.sendall((f"GET /v1/events HTTP/1.1\r\nHost: {NAME}\r\nAuthorization: Bearer {shared['token']}\r\n\r\n").encode())
        seen = b""
        while b"\r\n\r\n" not in seen:
            seen += stream.recv(65536)
        assert b"text/event-stream" in seen, seen
        run = json.loads(ask("POST", "/v1/experiments", json.dumps(definition), Content_Type="application/json")[2])["first_run"]
        seen = hear(stream, seen, b'"running"', b"event: progress")
        now = json.loads(ask("GET", f"/v1/runs/{run}")[2])
        assert now["state"] == "running", now  # else the events could have come at its end
        assert ask("POST", f"/v1/runs/{run}/cancel")[0] == 200
        seen = hear(stream, seen, b'"cancelled"')
        stream.close()
    assert len(seen) < 1 << 20, "so much that a full buffer could explain it"


def test_uploads_pass():
    """Some megabytes, more than nginx takes by default."""
    need()
    data = lab.table(60000)
    assert len(data) > 2 << 20, len(data)
    status, _, body = ask("PUT", "/v1/datasets/large?label=kind", data, Content_Type="text/csv")
    assert status in (200, 201), (status, body)
    assert ask("GET", "/v1/datasets/large")[0] == 200


def wrong(n, **how):
    """The last of n answers to a token that is none."""
    return [ask("GET", "/v1/me", token="tet_" + "0" * 64, **how)[0] for _ in range(n)][-1]


def test_whose_address_counts():
    """The server counts wrong tokens by the address that nginx saw, whatever a client writes; and believes nobody but
    its proxy."""
    need()
    assert wrong(12, source="127.1.0.1") == 429
    assert wrong(1, source="127.1.0.2") == 401  # another client of the same proxy
    assert wrong(1, source="127.1.0.1", X_Forwarded_For="10.9.9.9") == 429  # what it says of itself does not help
    assert wrong(12, source="127.1.0.3", port=8080) == 429  # not by the proxy
    assert wrong(1, source="127.1.0.3", port=8080, X_Forwarded_For="10.9.9.8") == 429


def test_proxies_must_be_addresses():
    with folder() as path:
        for bad in ("proxy.example.org", "10.0.0.0/33", "::1/129", "1.2.3.4/", "127.0.0.1,x"):
            said = subprocess.run([tap.TETRAD, "serve", "--db", path + "/x.db", "--listen", "127.0.0.1:0", "--proxy", bad],
                                  capture_output=True, text=True, timeout=60, env={"HOME": path})
            assert said.returncode in (2, 6) and "proxy" in said.stderr, (bad, said)
        said = subprocess.run([tap.TETRAD, "serve", "--db", path + "/y.db", "--listen", "127.0.0.1:0", "--proxy", "127.0.0.1"],
                              capture_output=True, text=True, timeout=60, env={"HOME": path})
        assert said.returncode == 6 and "has no access token" in said.stderr, said  # others come through a proxy


if __name__ == "__main__":
    with contextlib.ExitStack() as shared["stack"]:
        tap.run(globals())
