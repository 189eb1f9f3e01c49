# SPDX-License-Identifier: Apache-2.0
"""Makes numpy.npz and refused_*.npz of this folder, with numpy itself: python3 make_numpy_npz.py

test_npz.c knows what is in them. Run again only to change them; the files are committed.
"""
import os
import numpy as np

os.chdir(os.path.dirname(os.path.abspath(__file__)))
a = np.arange(24).reshape(2, 3, 4)
good = {name: (a - 5 if name[0] != "u" else a).astype(name)
        for name in ("f4", "f8", "i1", "u1", "i2", "u2", "i4", "u4", "i8", "u8")}
good["f4"] = good["f4"] * np.float32(0.5)
good["f8"] = good["f8"] * 0.5
good["fortran"] = np.asfortranarray(a.astype("f4"))
good["fortran_u1"] = np.asfortranarray(np.arange(200 * 700).reshape(200, 700) % 251).astype("u1", order="F")
good["scalar"] = np.float64(2.5)
good["empty"] = np.zeros((0, 7), "f4")
good["vector"] = np.arange(3, dtype="i4")
good["bool"] = np.array([True, False, True])
good["large"] = np.array([2**63 + 5, 2**64 - 1], "u8")
np.savez_compressed("numpy.npz", **good)
np.savez("refused_object.npz", x=np.array([{}, 1], object))
np.savez("refused_big_endian.npz", x=np.arange(3, dtype=">f4"))
np.savez("refused_record.npz", x=np.zeros(2, [("a", "f4"), ("b", "i4")]))
np.savez("refused_half.npz", x=np.zeros(2, "f2"))
np.savez("refused_complex.npz", x=np.zeros(2, "c8"))
np.savez("refused_text.npz", x=np.array(["a", "bc"]))
np.savez("refused_rank.npz", x=np.zeros((1,) * 9, "f4"))
