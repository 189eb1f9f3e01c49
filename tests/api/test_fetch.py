# SPDX-License-Identifier: Apache-2.0
"""`tetrad dataset`: fetching from a local mirror that cuts transfers, and the commands against a server.

The mirror is this test's own; its files are small ones of the right form, so their checksums are not the
published ones: --unverified takes them, and without it they are refused."""
import gzip, http.server, io, os, re, shutil, socketserver, struct, subprocess, sys, tarfile, tempfile, threading

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), ".."))
import tap


def idx_files(n_train=60, n_test=20, noise=20000):
    """MNIST's four files, with images that do not compress, so that a transfer takes several pieces."""
    def images(n):
        return struct.pack(">IIII", 0x803, n, 28, 28) + os.urandom(n * 784)

    def labels(n):
        return struct.pack(">II", 0x801, n) + bytes(i % 10 for i in range(n))
    parts = {"train-images-idx3-ubyte": images(n_train), "train-labels-idx1-ubyte": labels(n_train),
             "t10k-images-idx3-ubyte": images(n_test), "t10k-labels-idx1-ubyte": labels(n_test)}
    return {name + ".gz": gzip.compress(data) for name, data in parts.items()}


def cifar_archive(evil=False):
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w:gz") as tar:
        def add(name, data):
            info = tarfile.TarInfo(name)
            info.size = len(data)
            tar.addfile(info, io.BytesIO(data))
        for name in [f"data_batch_{i}.bin" for i in range(1, 6)] + ["test_batch.bin"]:
            add("cifar-10-batches-bin/" + name, b"".join(bytes([k]) + os.urandom(3072) for k in range(10)))
        add("cifar-10-batches-bin/readme.html", b"x")
        if evil:
            add("../../escaped", b"x")
            add("/tmp/escaped/train.bin", b"x")
            link = tarfile.TarInfo("cifar-10-batches-bin/test_batch.bin.gz")
            link.type, link.linkname = tarfile.SYMTYPE, "/etc/passwd"
            tar.addfile(link)
    return out.getvalue()


class Mirror:
    """Serves files; the first transfer of those named in `cut` ends after half of what is left."""

    def __init__(self, files, cut=(), ranges=True):
        self.files, self.cut, self.ranges, self.log = files, set(cut), ranges, []
        mirror = self

        class Handler(http.server.BaseHTTPRequestHandler):
            def do_GET(self):
                name = self.path.lstrip("/")
                data = mirror.files.get(name)
                mirror.log.append((name, self.headers.get("Range")))
                if data is None:
                    return self.send_error(404)
                start = 0
                wanted = re.fullmatch(r"bytes=(\d+)-", self.headers.get("Range") or "")
                if wanted and mirror.ranges:
                    start = int(wanted[1])
                    if start >= len(data):
                        return self.send_error(416)
                    self.send_response(206)
                    self.send_header("Content-Range", f"bytes {start}-{len(data) - 1}/{len(data)}")
                else:
                    self.send_response(200)
                rest = data[start:]
                self.send_header("Content-Length", str(len(rest)))
                self.end_headers()
                if name in mirror.cut:
                    mirror.cut.discard(name)
                    rest = rest[:len(rest) // 2]
                    self.close_connection = True
                self.wfile.write(rest)

            def log_message(self, *args):
                pass

        class Server(socketserver.ThreadingMixIn, http.server.HTTPServer):
            daemon_threads = True

        self.server = Server(("127.0.0.1", 0), Handler)
        threading.Thread(target=self.server.serve_forever, daemon=True).start()
        self.url = f"http://127.0.0.1:{self.server.server_port}"

    def __enter__(self):
        return self

    def __exit__(self, *args):
        self.server.shutdown()
        self.server.server_close()


class Folder:
    def __enter__(self):
        self.path = tempfile.mkdtemp(prefix="tetrad-fetch-")
        return self.path

    def __exit__(self, *args):
        shutil.rmtree(self.path, ignore_errors=True)


def command(*arguments, status=0):
    done = subprocess.run([tap.TETRAD, "dataset", *arguments], stdin=subprocess.DEVNULL, capture_output=True,
                          text=True, timeout=60)
    assert done.returncode == status, (arguments, done.returncode, done.stdout, done.stderr)
    return done.stdout + done.stderr


def fetch(name, mirror, folder, *more, status=0):
    return command("fetch", name, "--data", folder, "--mirror", mirror.url, *more, status=status)


def test_whole():
    files = idx_files()
    with Mirror(files) as mirror, Folder() as folder:
        said = fetch("mnist", mirror, folder + "/new", "--unverified")
        assert "60 examples to train on, 20 to test on, 10 classes" in said, said
        assert sorted(os.listdir(folder + "/new")) == ["mnist"]
        for name, data in files.items():
            assert open(f"{folder}/new/mnist/{name}", "rb").read() == data
        before = len(mirror.log)
        assert "there already" in fetch("mnist", mirror, folder + "/new")
        assert len(mirror.log) == before


def test_cut_and_resumed():
    """Each cut transfer goes on where it was, and the bytes are those of the whole."""
    files = idx_files()
    with Mirror(files, cut=files) as mirror, Folder() as folder:
        fetch("kmnist", mirror, folder, "--unverified")
        for name, data in files.items():
            assert open(f"{folder}/kmnist/{name}", "rb").read() == data
            ranges = [r for n, r in mirror.log if n == name]
            assert ranges == [None, f"bytes={len(data) // 2}-"], ranges


def test_no_ranges():
    """A mirror that cannot go on begins anew."""
    files = idx_files()
    with Mirror(files, cut=files, ranges=False) as mirror, Folder() as folder:
        fetch("fashion-mnist", mirror, folder, "--unverified")
        for name, data in files.items():
            assert open(f"{folder}/fashion-mnist/{name}", "rb").read() == data


def test_next_time():
    """What a mirror did not have is fetched the next time; what was there is not fetched again."""
    files = idx_files()
    missing = dict(files)
    del missing["t10k-labels-idx1-ubyte.gz"]
    with Folder() as folder:
        with Mirror(missing) as mirror:
            assert "404" in fetch("mnist", mirror, folder, "--unverified", status=7)
        assert os.listdir(folder) == [".mnist.part"]
        with Mirror(files) as mirror:
            fetch("mnist", mirror, folder, "--unverified")
            assert os.listdir(folder) == ["mnist"]


def test_checksum():
    with Mirror(idx_files()) as mirror, Folder() as folder:
        said = fetch("mnist", mirror, folder, status=4)
        assert "f68b3c2dcbeaaa9fbdd348bbdeb94873" in said, said
        assert os.listdir(folder) == []


def test_wrong_form():
    files = idx_files()
    files["train-labels-idx1-ubyte.gz"] = gzip.compress(struct.pack(">II", 0x801, 5) + bytes(5))
    with Mirror(files) as mirror, Folder() as folder:
        assert "5 labels for 60 images" in fetch("mnist", mirror, folder, "--unverified", status=4)
        assert os.listdir(folder) == []


def test_archive():
    with Mirror({"cifar-10-binary.tar.gz": cifar_archive(evil=True)}, cut=["cifar-10-binary.tar.gz"]) as mirror, \
            Folder() as folder:
        said = fetch("cifar10", mirror, folder, "--unverified")
        assert "50 examples to train on, 10 to test on, 10 classes" in said, said
        assert os.listdir(folder) == ["cifar10"]
        assert sorted(os.listdir(folder + "/cifar10")) == [f"data_batch_{i}.bin" for i in range(1, 6)] + [
            "test_batch.bin"]


def test_bad_archive():
    good = cifar_archive()
    for data in [b"nothing", good[:len(good) // 2]]:
        with Mirror({"cifar-10-binary.tar.gz": data}) as mirror, Folder() as folder:
            fetch("cifar10", mirror, folder, "--unverified", status=4)
            assert os.listdir(folder) == []


def test_usage():
    assert "there is no" in command("fetch", "imagenet", status=2)
    command("fetch", status=2)
    command("nonsense", status=2)
    command("upload", "x.npz", status=2)
    command("upload", "x.npz", "--name", "../x", status=2)
    command("list", "--server", "http://127.0.0.1:1", status=7)


def test_server():
    """upload, list, delete against the real server."""
    with Folder() as folder:
        os.mkdir(folder + "/data")
        server = subprocess.Popen(
            [tap.TETRAD, "serve", "--db", folder + "/t.db", "--data", folder + "/data", "--listen", "127.0.0.1:0",
             "--workers", "1", "--files", folder + "/state", "--max-upload", "1M"], stdout=subprocess.PIPE, text=True)
        try:
            url = re.search(r"http://[0-9.:]+", server.stdout.readline())[0]
            with open(folder + "/flowers.csv", "w") as table:
                table.write("a,b,kind\n" + "".join(f"{i},{i * i},{i % 3}\n" for i in range(30)))
            said = command("upload", folder + "/flowers.csv", "--name", "flowers", "--label", "kind", "--test-fraction",
                           "0.2", "--server", url)
            assert "flowers: csv, 24 to train on, 6 to test on, 2 inputs, 3 outputs" in said, said
            for name, data in idx_files().items():
                open(f"{folder}/{name}", "wb").write(data)
            said = command("upload", *(f"{folder}/{name}" for name in idx_files()), "--name", "digits", "--server", url)
            assert "digits: idx, 60 to train on, 20 to test on" in said, said
            said = command("list", "--server", url)
            assert [line.split(":")[0] for line in said.splitlines()] == ["digits", "flowers", "strokes"], said
            assert len(os.listdir(folder + "/state/datasets")) == 2
            open(folder + "/big.npz", "wb").write(os.urandom(5 << 20))
            assert "at most 1048576" in command("upload", folder + "/big.npz", "--name", "big", "--server", url,
                                                status=4)
            assert "is deleted" in command("delete", "flowers", "--server", url)
            assert "no dataset" in command("delete", "flowers", "--server", url, status=7)
            assert "server's own" in command("delete", "strokes", "--server", url, status=7)
        finally:
            server.terminate()
            assert server.wait(20) == 0
            server.stdout.close()
        assert os.listdir(folder + "/state/incoming") == []


tap.run(globals())
