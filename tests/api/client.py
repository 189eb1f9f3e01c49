# SPDX-License-Identifier: Apache-2.0
"""A real daemon and the client's commands, for the tests in Python."""
import http.server, json, os, re, shutil, subprocess, tempfile, threading, time

import tap


class Server:
    """A folder of its own, which is also its clients' home: --server need not be given."""

    def __enter__(self):
        self.folder = tempfile.mkdtemp(prefix="tetrad-test-")
        os.mkdir(self.path("data"))
        self.start("127.0.0.1:0")
        os.makedirs(self.path(".config/tetrad"))
        with open(self.path(".config/tetrad/config"), "w") as f:
            f.write(f"server = {self.url}\n")
        return self

    def start(self, listen):
        self.process = subprocess.Popen(
            [tap.TETRAD, "serve", "--listen", listen, "--workers", "1", "--db", self.path("t.db"), "--data",
             self.path("data")], stdout=subprocess.PIPE, text=True, env=environment(self.folder))
        self.url = re.search(r"http://\S+", self.process.stdout.readline()).group()

    def stop(self):
        self.process.terminate()
        assert self.process.wait(60) == 0
        self.process.stdout.close()

    def __exit__(self, *_):
        self.stop()
        shutil.rmtree(self.folder)

    def restart(self):
        """At the same address."""
        self.stop()
        self.start(self.url.removeprefix("http://"))

    def path(self, name):
        return os.path.join(self.folder, name)

    def write(self, name, value):
        with open(self.path(name), "w") as f:
            f.write(value if isinstance(value, str) else json.dumps(value))
        return self.path(name)

    def tetrad(self, *arguments, status=0, **more):
        """What a command writes to standard output."""
        return tetrad(*arguments, home=self.folder, status=status, **more).stdout

    def json(self, *arguments, **more):
        return json.loads(self.tetrad(*arguments, "--json", **more))

    def refused(self, *arguments, status=7, **more):
        """What a command that ends with this status writes to standard error."""
        return tetrad(*arguments, home=self.folder, status=status, **more).stderr

    def submit(self, definition, *options, **more):
        """The experiment's number."""
        return self.json("submit", self.write("definition.json", definition), *options, **more)["id"]

    def done(self, definition, status=0):
        """Submits and waits; the experiment, as the server has it."""
        id = self.submit(definition)
        self.tetrad("watch", str(id), status=status)
        return self.json("show", str(id))

    def await_state(self, what, state):
        for _ in range(600):
            if self.json("show", what)["state"] == state:
                return
            time.sleep(0.05)
        raise AssertionError((what, state, self.json("show", what)))


def environment(home, **more):
    """Without what the caller's own shell says of servers and tokens."""
    kept = {k: v for k, v in os.environ.items() if not k.startswith("TETRAD_")}
    return {**kept, "HOME": home, **more}


def tetrad(*arguments, home, status=0, **more):
    done = subprocess.run([tap.TETRAD, *arguments], capture_output=True, text=True, timeout=120, stdin=subprocess.DEVNULL,
                          env=environment(home, **more))
    assert done.returncode == status, (arguments, done)
    return done


class Fake(http.server.BaseHTTPRequestHandler):
    """Answers by path; keeps what it was sent."""
    protocol_version = "HTTP/1.0"
    replies, seen = {}, []

    def do_GET(self):
        size = int(self.headers.get("Content-Length") or 0)
        type(self).seen.append((self.command, self.path, dict(self.headers), self.rfile.read(size)))
        reply = type(self).replies.get(self.path.split("?")[0], (404, {}, b'{"error":{"message":"nothing"}}'))
        status, headers, body = reply(self) if callable(reply) else reply
        self.send_response(status)
        for name, value in headers.items():
            self.send_header(name, value)
        try:
            self.end_headers()
            self.wfile.write(body)
        except BrokenPipeError:
            pass  # the client has had enough

    do_POST = do_DELETE = do_GET

    def log_message(self, *_):
        pass


def fake(replies):
    """A server on a free port: replies by path, (status, headers, body) or a function of the handler. Its URL; what it got."""
    handler = type("Handler", (Fake,), {"replies": replies, "seen": []})
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    return server, f"http://127.0.0.1:{server.server_port}", handler.seen
