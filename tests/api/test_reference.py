#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""`tetrad run` on an NPZ dataset against an independent implementation of the rules in float64.

The oracle is circuit_reference.py, which lies beside the repository on the project's own machines
(TETRAD_REFERENCE names its folder); elsewhere these tests are skipped. The oracle that always
runs is tests/unit/naive.h, used by tests/unit/test_rules.c."""
import json, os, subprocess, sys, tempfile

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), ".."))
import tap
import numpy as np

FOLDER = os.environ.get("TETRAD_REFERENCE") or os.path.join(tap.ROOT, "..", "shared", "reference")
STEPS, LIMIT = 50, 1e-4


def initial(case, seed):
    r = np.random.RandomState(seed)
    d = case["widths"]
    L = len(d) - 1
    e = [None] + case.get("descending", d[1:L]) + [d[L]]
    A = {}
    for l in range(1, L + 1):
        A[f"W{l}"] = r.randn(d[l], d[l - 1]) * np.sqrt(2 / d[l - 1])
        A[f"b{l}"] = r.randn(d[l]) * 0.1
    for l in range(1, L):
        A[f"B{l+1}"] = r.randn(e[l], e[l + 1]) * np.sqrt(2 / d[l])
        A[f"V{l}"] = r.randn(d[l], e[l]) * 0.5 / np.sqrt(e[l])
        A[f"U{l}"] = r.randn(e[l], d[l]) * 0.5 / np.sqrt(d[l])
    for l in range(1, L):
        A[f"D{l}"] = r.randn(d[l], d[L]) * np.sqrt(2 / d[l])
    return {k: v.astype(np.float32) for k, v in A.items()}


def definition(case):
    d, opt = case["widths"], case["optimizer"]
    groups = {"fa": "WB", "kp": "WB", "sal": "WBVU", "frsf": "WB"}.get(case["rule"], "W")
    layers = [{"type": "dense", "units": n, "activation": case["activation"]} for n in d[1:-1]]
    for layer, e in zip(layers, case.get("descending", [])):
        layer["descending_units"] = e
    rule = {"name": case["rule"]}
    if not case["gate"]:
        rule["gate"] = False
    return {
        "dataset": {"name": "case", "standardize": False},
        "network": {"layers": layers, "loss": case["loss"]},
        "rule": rule,
        "optimizer": {"lr": opt["lr"]["W"], "momentum": opt["momentum"],
                      "groups": {g: {"lr": opt["lr"][g], "decay": opt["decay"][g]} for g in groups}},
        "training": {"epochs": 1, "batch": case["batch"], "shuffle": False},
        "record": {"every": 1},
        "initial_weights": "init.npz",
    }


def compare(rule, seed=0, **changes):
    script = os.path.join(FOLDER, "circuit_reference.py")
    if not os.path.exists(script):
        raise tap.Skip(f"no {script}")
    sys.path.insert(0, FOLDER)
    import circuit_reference

    case = {"rule": rule, "widths": [12, 9, 7, 4], "activation": "relu", "loss": "cross_entropy", "gate": True,
            "steps": STEPS, "batch": 5,
            "optimizer": {"lr": dict.fromkeys("WBVU", 0.05), "momentum": 0.0, "decay": dict.fromkeys("WBVU", 1e-3)}}
    optimizer = changes.pop("optimizer", {})
    case.update(changes)
    case["optimizer"].update(optimizer)
    A, d = initial(case, seed), case["widths"]
    r = np.random.RandomState(seed + 100)
    x = r.randn(STEPS, case["batch"], d[0]).astype(np.float32)
    t = (r.randn(STEPS, case["batch"], d[-1]).astype(np.float32) if case["loss"] == "mse"
         else r.randint(0, d[-1], (STEPS, case["batch"])))
    if case["loss"] != "mse":
        t[0, :d[-1]] = np.arange(d[-1])[:case["batch"]]  # every class occurs
    want = circuit_reference.run(case, A, x, t)
    with tempfile.TemporaryDirectory() as folder:
        np.savez(f"{folder}/case.npz", x=x.reshape(-1, d[0]), t=t.reshape(STEPS * case["batch"], *t.shape[2:]))
        np.savez(f"{folder}/init.npz", **A)
        json.dump(definition(case), open(f"{folder}/case.json", "w"))
        p = subprocess.run([tap.TETRAD, "run", f"{folder}/case.json", "--data", folder, "--out", f"{folder}/out.npz",
                            "--metrics", f"{folder}/metrics.csv"], capture_output=True, text=True)
        assert p.returncode == 0, p.stderr
        got = dict(np.load(f"{folder}/out.npz"))
        rows = [line.strip().split(",") for line in open(f"{folder}/metrics.csv")][1:]
    arrays = {"fa": "WbB", "kp": "WbB", "sal": "WbBVU", "frsf": "WbB", "dfa": "WbD"}.get(rule, "Wb")
    assert {n[0] for n in got} == set(arrays), sorted(got)
    for name, value in sorted(got.items()):
        error = np.abs(value - want[name]).max() / np.abs(want[name]).max()
        assert error < LIMIT, f"{name}: relative error {error}"
        frozen = name[0] == "D" or (rule in ("fa", "frsf") and name[0] == "B")
        assert frozen == (not np.abs(value - A[name]).max() > 1e-3), f"{name} moved by {np.abs(value - A[name]).max()}"
    for l in range(1, len(d) - 1):
        cosine = [float(v) for _, _, series, v in rows if series == f"alignment/modulation/{l}"]
        error = np.abs(np.array(cosine) - want["cosine"][:, l - 1]).max()
        assert len(cosine) == STEPS and error < 1e-3, f"cosine of layer {l}: off by {error}"


def test_sal_relu():
    compare("sal")


def test_sal_tanh():
    compare("sal", activation="tanh")


def test_sal_mse():
    compare("sal", loss="mse", optimizer={"lr": dict.fromkeys("WBVU", 0.02)})


def test_sal_momentum():
    compare("sal", optimizer={"momentum": 0.9, "lr": dict.fromkeys("WBVU", 0.005)})


def test_sal_unequal_descending_widths_without_gate():
    compare("sal", gate=False, descending=[5, 11])


def test_sal_rates_and_decays_per_group():
    rates, decays = dict(W=0.05, B=0.03, V=0.02, U=0.04), dict(W=1e-3, B=5e-3, V=2e-2, U=1e-2)
    compare("sal", optimizer={"lr": rates, "decay": decays})


def test_sal_deep():
    compare("sal", widths=[20, 17, 33, 16, 8, 5], activation="tanh")


def test_sal_wide():
    compare("sal", widths=[70, 130, 65, 10], batch=9)


def test_bp():
    for loss in ("cross_entropy", "mse"):
        for activation in ("relu", "tanh"):
            compare("bp", activation=activation, loss=loss, optimizer={"lr": dict.fromkeys("WBVU", 0.02)})


def test_bp_momentum():
    compare("bp", optimizer={"momentum": 0.9, "lr": dict.fromkeys("WBVU", 0.01)})


def test_fa():
    compare("fa")
    compare("fa", activation="tanh", gate=False)


def test_dfa():
    compare("dfa")
    compare("dfa", activation="tanh", gate=False)
    compare("dfa", widths=[20, 70, 33, 16, 5], loss="mse",
            optimizer={"lr": dict.fromkeys("WBVU", 0.001), "momentum": 0.5})


def test_usf():
    compare("usf")
    compare("usf", activation="tanh", loss="mse", optimizer={"lr": dict.fromkeys("WBVU", 0.02), "momentum": 0.5})
    compare("usf", gate=False, widths=[20, 70, 33, 5])


def test_frsf():
    compare("frsf")
    compare("frsf", activation="tanh", gate=False)
    compare("frsf", widths=[20, 70, 33, 5], optimizer={"momentum": 0.5, "lr": dict.fromkeys("WBVU", 0.02)})


def test_kp():
    compare("kp")
    compare("kp", activation="tanh", loss="mse", optimizer={"lr": dict.fromkeys("WBVU", 0.02), "momentum": 0.5})
    compare("kp", gate=False)


tap.run(globals())
