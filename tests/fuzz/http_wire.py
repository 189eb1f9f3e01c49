# SPDX-License-Identifier: Apache-2.0
"""Bytes to and from the server: replies are read one after another, so that requests can be pipelined."""
import http.client, socket


class Reply:
    def __init__(self, response, data, stream=False):
        self.status, self.headers, self.data, self.stream, self.json = response.status, response.headers, data, stream, None
        self.last = response.will_close or stream

    def __str__(self):
        return f"{self.status} {dict(self.headers)} {self.data[:1500]!r}"


class Rest:
    """The reading end, which a reply that is whole must not close."""

    def __init__(self, file):
        self.file = file

    def makefile(self, *_):
        return self

    def close(self):
        pass

    def __getattr__(self, name):
        return getattr(self.file, name)


class Wire:
    def __init__(self, port, timeout, source="127.0.0.1"):
        self.socket = socket.create_connection(("127.0.0.1", port), timeout, (source, 0))
        self.file = self.socket.makefile("rb")

    def send(self, data):
        try:
            self.socket.sendall(data)
        except (BrokenPipeError, ConnectionResetError):
            pass  # it may have been answered before

    def reply(self, method="GET"):
        """None: the server ended the connection without one, or nothing came in time."""
        response = http.client.HTTPResponse(Rest(self.file), method=method)
        try:
            response.begin()
            if response.headers.get("Content-Type", "").startswith("text/event-stream"):
                return Reply(response, b"", True)
            return Reply(response, response.read())
        except (http.client.BadStatusLine, ConnectionResetError, TimeoutError, socket.timeout):
            return None

    def close(self):
        self.file.close()
        self.socket.close()
