#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""What a server lacks around it is no result of a run: a dataset that is not there, or not the same, too little memory. The
run pauses with the reason and its checkpoint, and goes on when the server starts again with what it needs."""
import os

import numpy as np

import daemon
from daemon import Daemon, folder, until
import tap

DEFINITION = {"dataset": {"name": "d"}, "network": {"layers": [{"units": 64}]}, "rule": {"name": "sal"},
              "optimizer": {"lr": 0.02, "decay": 0.001}, "training": {"epochs": 400, "batch": 16},
              "record": {"every": 10}, "sweep": {"training.seed": [1, 2, 3]}}


def write_dataset(path, seed=0):
    r = np.random.RandomState(seed)
    np.savez(os.path.join(path, "d.npz"), x=r.randn(600, 20).astype(np.float32), t=np.arange(600) % 4)


def undisturbed():
    with folder() as path:
        write_dataset(path)
        with Daemon(path) as d:
            return d.await_final(d.client.submit(DEFINITION)[1]["runs"])


def interrupted(hinder, mend, reason, **surroundings):
    """Stops a server in the midst of runs, starts it where they cannot go on, then where they can."""
    expected = undisturbed()
    with folder() as path:
        write_dataset(path)
        with Daemon(path, workers=1) as d:
            runs = d.client.submit(DEFINITION)[1]["runs"]
            until("the first run to be under way", lambda: d.client.run(runs[0])["progress"]["epoch"] >= 20)
            d.stop()
        hinder(path)
        with Daemon(path, **surroundings) as d:
            for run in runs:
                paused = until("the run to pause", lambda: (r := d.client.run(run))["state"] == "paused" and r)
                assert reason in paused["reason"], paused["reason"]
            assert d.client.run(runs[0])["progress"]["step"] > 0
            assert d.client.cancel(f"/v1/runs/{runs[2]}")["queued"] == 1  # what is paused can be cancelled
            d.stop()
        mend(path)
        with Daemon(path) as d:
            ended = d.await_final(runs)
            for run, want in zip(runs[:2], list(expected.values())[:2]):
                assert (ended[run]["state"], ended[run]["digest"]) == ("succeeded", want["digest"]), ended[run]
                assert len(d.client.metrics(run)) > 0
            assert ended[runs[2]]["state"] == "cancelled"


def test_a_dataset_that_is_gone():
    interrupted(lambda path: os.rename(f"{path}/d.npz", f"{path}/elsewhere"),
                lambda path: os.rename(f"{path}/elsewhere", f"{path}/d.npz"), "no dataset d")


def test_a_dataset_that_is_another():
    interrupted(lambda path: write_dataset(path, 1), write_dataset, "changed")


def test_too_little_memory():
    interrupted(lambda path: None, lambda path: None, "memory", TETRAD_MEMORY="64K")


tap.run(globals())
