# SPDX-License-Identifier: Apache-2.0
"""A real daemon and the client's commands, for the tests in Python."""
import http.server, os, re, shutil, subprocess, tempfile, threading

import tap


class Server:
    def __enter__(self):
        self.folder = tempfile.mkdtemp(prefix="tetrad-test-")
        os.mkdir(self.path("data"))
        self.process = subprocess.Popen(
            [tap.TETRAD, "serve", "--listen", "127.0.0.1:0", "--workers", "1", "--db", self.path("t.db"), "--data",
             self.path("data")], stdout=subprocess.PIPE, text=True, env=environment(self.folder))
        self.url = re.search(r"http://\S+", self.process.stdout.readline()).group()
        return self

    def __exit__(self, *_):
        self.process.terminate()
        self.process.wait(15)
        self.process.stdout.close()
        shutil.rmtree(self.folder)

    def path(self, name):
        return os.path.join(self.folder, name)


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
