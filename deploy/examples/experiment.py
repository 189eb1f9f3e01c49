# SPDX-License-Identifier: Apache-2.0
"""Submits an experiment, waits, loads the weights and plots. Needs numpy; with matplotlib, also draws experiment.png.

    TETRAD_SERVER=http://127.0.0.1:8080 TETRAD_TOKEN=... python3 experiment.py"""
import io, json, os, time, urllib.request
import numpy as np

SERVER = os.environ.get("TETRAD_SERVER", "http://127.0.0.1:8080")
TOKEN = os.environ.get("TETRAD_TOKEN")


def ask(path, body=None):
    """The reply's bytes; a body makes it a POST."""
    request = urllib.request.Request(SERVER + path, data=json.dumps(body).encode() if body else None)
    request.add_header("Content-Type", "application/json")
    if TOKEN:
        request.add_header("Authorization", "Bearer " + TOKEN)
    return urllib.request.urlopen(request).read()


# %% submit
definition = {"name": "experiment.py", "dataset": {"name": "strokes", "train": 2000, "test": 500},
              "network": {"layers": [{"units": 32}]}, "rule": {"name": "sal"}, "training": {"epochs": 3},
              "record": {"every": 10}}
submitted = json.loads(ask("/v1/experiments", definition))
run = submitted["first_run"]

# %% wait
while json.loads(ask(f"/v1/runs/{run}"))["state"] in ("queued", "running", "paused"):
    time.sleep(0.2)
result = json.loads(ask(f"/v1/runs/{run}"))
print(result["state"], result["final"].get("test/accuracy"), result["digest"])

# %% what was measured, and the weights
series = json.loads(ask(f"/v1/runs/{run}/metrics"))["series"]["alignment/modulation/1"]
weights = np.load(io.BytesIO(ask(f"/v1/runs/{run}/weights.npz")))
print({name: weights[name].shape for name in weights.files if weights[name].ndim == 2})

# %% plot
try:
    import matplotlib
    matplotlib.use("Agg")
    import matplotlib.pyplot as plt
except ImportError:
    raise SystemExit(0)
plt.plot(series["steps"], series["values"])
plt.xlabel("mini-batches")
plt.ylabel("cosine of the modulation with the gradient")
plt.savefig("experiment.png")
