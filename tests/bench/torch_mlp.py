#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""Peer: PyTorch trains the same dense network by backpropagation, SGD with momentum, on data in memory.

    torch_mlp.py [--widths 784,256,256,10] [--batch N] [--threads N] [--momentum M] [--seconds S] [--windows N]

Prints one JSON object with the fields of bench.h. Run it with OMP_NUM_THREADS set to the threads, and without
OPENBLAS_CORETYPE and OPENBLAS_L2_SIZE: they would slow it.
"""
import argparse
import json
import math
import statistics
import time

import torch

EXAMPLES = 10000


def make_step(options, widths):
    """A function that trains on one mini-batch of random examples."""
    layers = []
    for i in range(len(widths) - 1):
        layers.append(torch.nn.Linear(widths[i], widths[i + 1]))
        if i < len(widths) - 2:
            layers.append(torch.nn.ReLU())
    net = torch.nn.Sequential(*layers)
    optimizer = torch.optim.SGD(net.parameters(), lr=1e-3, momentum=options.momentum)
    inputs = torch.randn(EXAMPLES, widths[0])
    labels = torch.randint(0, widths[-1], (EXAMPLES,))

    def step():
        index = torch.randint(0, EXAMPLES, (options.batch,))
        optimizer.zero_grad(set_to_none=True)
        torch.nn.functional.cross_entropy(net(inputs[index]), labels[index]).backward()
        optimizer.step()

    return step


def train(step, n):
    for _ in range(n):
        step()


def warm_up(step, options):
    """Trains, twice as much every time, until a fifth of the time is over; returns the steps of a window. The first
    step, which meets cold memory, does not tell."""
    start = now = time.perf_counter()
    n, per_step = 1, 0.0
    while n <= 2 or now - start < 0.2 * options.seconds:
        train(step, n)
        end = time.perf_counter()
        per_step, now, n = (end - now) / n, end, 2 * n
    return math.ceil(options.seconds / options.windows / per_step)


def blas_in_use():
    """The files of the matrix library that this process has loaded."""
    with open("/proc/self/maps") as maps:
        files = {line.split()[-1] for line in maps if "blas" in line or "mkl" in line}
    return sorted(files)


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--widths", default="784,256,256,10")
    parser.add_argument("--batch", type=int, default=64)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--momentum", type=float, default=0.9)
    parser.add_argument("--seconds", type=float, default=1.0)
    parser.add_argument("--windows", type=int, default=7)
    options = parser.parse_args()
    widths = [int(width) for width in options.widths.split(",")]
    torch.set_num_threads(options.threads)
    torch.manual_seed(0)

    step = make_step(options, widths)
    steps = warm_up(step, options)
    windows, busy = [], []
    for _ in range(options.windows):
        start, used = time.perf_counter(), time.process_time()
        train(step, steps)
        taken = time.perf_counter() - start
        windows.append(taken / steps)
        busy.append((time.process_time() - used) / taken / options.threads)
    median = statistics.median(windows)
    print(json.dumps({
        "program": "torch", "version": torch.__version__, "blas": blas_in_use(), "rule": "bp", "widths": widths,
        "batch": options.batch, "threads": options.threads, "momentum": options.momentum,
        "windows": options.windows, "steps_per_window": steps, "seconds_per_step": median,
        "samples_per_s": options.batch / median, "samples_per_s_min": options.batch / max(windows),
        "samples_per_s_max": options.batch / min(windows), "busy": statistics.median(busy)}))


if __name__ == "__main__":
    main()
