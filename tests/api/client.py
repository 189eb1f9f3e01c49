# SPDX-License-Identifier: Apache-2.0
"""A real daemon and the client's commands, for the tests in Python."""
import os, re, shutil, subprocess, tempfile

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
