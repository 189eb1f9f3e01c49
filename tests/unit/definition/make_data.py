#!/usr/bin/env python3
"""Makes the small datasets of test_definition.c in data/ beside this file. Standard library only."""
import gzip
import io
import os
import random
import struct
import zipfile

HERE = os.path.dirname(os.path.abspath(__file__))
random.seed(1)


def put(path, data):
    path = os.path.join(HERE, "data", path)
    os.makedirs(os.path.dirname(path), exist_ok=True)
    with open(path, "wb") as file:
        file.write(data)


def idx(shape, data):
    return struct.pack(">BBBB", 0, 0, 8, len(shape)) + struct.pack(f">{len(shape)}I", *shape) + bytes(data)


def npy(shape, values):
    whole = isinstance(values[0], int)
    head = "{'descr': '%s', 'fortran_order': False, 'shape': %s, }" % ("<i4" if whole else "<f4", shape)
    head += " " * (63 - (len(head) + 10) % 64) + "\n"
    data = struct.pack(f"<{len(values)}{'i' if whole else 'f'}", *values)
    return b"\x93NUMPY\x01\x00" + struct.pack("<H", len(head)) + head.encode() + data


def npz(arrays):
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, (shape, values) in arrays.items():
            archive.writestr(zipfile.ZipInfo(name + ".npy"), npy(shape, values))
    return out.getvalue()


def images(n, side):
    return [random.randrange(16) * 17 if i % 13 == 0 else 0 for i in range(n * side * side)]


def labels(n, classes):
    return [i % classes for i in range(n)]


for part, n in (("train", 120), ("t10k", 20)):
    put(f"mnist/{part}-images-idx3-ubyte.gz", gzip.compress(idx((n, 28, 28), images(n, 28)), mtime=0))
    put(f"mnist/{part}-labels-idx1-ubyte.gz", gzip.compress(idx((n,), labels(n, 10)), mtime=0))
put("bare/train-images-idx3-ubyte", idx((30, 2, 2), images(30, 2)))
put("bare/train-labels-idx1-ubyte", idx((30,), labels(30, 3)))
put("broken/train-images-idx3-ubyte", idx((3, 2, 2), images(3, 2)))
put("broken/train-labels-idx1-ubyte", idx((300,), labels(2, 3)))
put("reals.npz", npz({"x": ((20, 3), [random.gauss(0, 1) for _ in range(60)]),
                      "t": ((20, 2), [random.gauss(0, 1) for _ in range(40)])}))
put("../weights/start.npz", npz({"W1": ((2, 4), [0.0] * 8)}))
put("colour.npz", npz({"x": ((20, 3, 6, 8), [random.gauss(0, 1) for _ in range(20 * 3 * 6 * 8)]),
                       "t": ((20,), labels(20, 4))}))
put("tall.npz", npz({"x": ((20, 9, 5), [random.gauss(0, 1) for _ in range(20 * 9 * 5)]), "t": ((20,), labels(20, 4))}))
for name in [f"data_batch_{i}" for i in range(1, 6)] + ["test_batch"]:
    records = [bytes([i % 10] + [random.randrange(256) if k % 97 == 0 else 0 for k in range(3072)]) for i in range(20)]
    put(f"cifar10/{name}.bin.gz", gzip.compress(b"".join(records), mtime=0))
