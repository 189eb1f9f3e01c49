#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""Peer: PyTorch trains the same network by backpropagation, SGD with momentum, on data in memory. Images lie in the
order, channels first or last, in which it is faster.

    torch_peer.py [--network 784,256,256,10] [--batch N] [--threads N] [--momentum M] [--seconds S] [--windows N]

Prints one JSON object with the fields of bench.h. Run it with OMP_NUM_THREADS set to the threads, and without
OPENBLAS_CORETYPE and OPENBLAS_L2_SIZE: they would slow it.
"""
import argparse
import json
import math
import statistics
import time

import torch

import network

EXAMPLES = 10000


def modules(net):
    """A network's layers as PyTorch's; relu after each but the last."""
    channels, flat = net.image[0], not net.convolutional
    for layer in net.layers:
        if layer.kernel > 0:
            yield torch.nn.Conv2d(channels, layer.units, layer.kernel, layer.stride, layer.pad)
        else:
            if not flat:
                yield torch.nn.Flatten()
            yield torch.nn.Linear(layer.inputs, layer.units)
            flat = True
        if layer is not net.layers[-1]:
            yield torch.nn.ReLU()
        if layer.pool:
            pool = torch.nn.MaxPool2d if layer.pool == "max" else torch.nn.AvgPool2d
            yield pool(layer.pool_size, layer.pool_stride)
        channels = layer.units


def make_step(options, net, order):
    """A function that trains on one mini-batch of random examples. order: of images in memory."""
    model = torch.nn.Sequential(*modules(net)).to(memory_format=order)
    optimizer = torch.optim.SGD(model.parameters(), lr=1e-3, momentum=options.momentum)
    inputs = torch.randn(EXAMPLES, *(net.image if net.convolutional else net.image[:1]))
    labels = torch.randint(0, net.layers[-1].units, (EXAMPLES,))

    def step():
        index = torch.randint(0, EXAMPLES, (options.batch,))
        optimizer.zero_grad(set_to_none=True)
        examples = inputs[index].contiguous(memory_format=order)
        torch.nn.functional.cross_entropy(model(examples), labels[index]).backward()
        optimizer.step()

    return step


def train(step, n):
    for _ in range(n):
        step()


def warm_up(step, options):
    """Trains, twice as much every time, until a fifth of the time is over; returns the steps of a window. The first
    step meets cold memory and does not tell, unless it takes all the time alone."""
    start = now = time.perf_counter()
    n, per_step = 1, 0.0
    while now - start < (1.0 if n <= 2 else 0.2) * options.seconds:
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
    parser.add_argument("--network", default="784,256,256,10")
    parser.add_argument("--batch", type=int, default=64)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--momentum", type=float, default=0.9)
    parser.add_argument("--seconds", type=float, default=1.0)
    parser.add_argument("--windows", type=int, default=7)
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    torch.manual_seed(0)

    net = network.read(options.network)
    orders = [torch.contiguous_format, torch.channels_last] if net.convolutional else [torch.contiguous_format]
    steps, step, order = max(((warm_up(step, options), step, order) for order in orders
                              for step in [make_step(options, net, order)]), key=lambda candidate: candidate[0])
    windows, busy = [], []
    for _ in range(options.windows):
        start, used = time.perf_counter(), time.process_time()
        train(step, steps)
        taken = time.perf_counter() - start
        windows.append(taken / steps)
        busy.append((time.process_time() - used) / taken / options.threads)
    median = statistics.median(windows)
    print(json.dumps({
        "program": "torch", "version": torch.__version__, "blas": blas_in_use(),
        "onednn": torch.backends.mkldnn.is_available(), "memory_format": str(order), "rule": "bp",
        "network": options.network, "batch": options.batch, "threads": options.threads, "momentum": options.momentum,
        "windows": options.windows, "steps_per_window": steps, "seconds_per_step": median,
        "samples_per_s": options.batch / median, "samples_per_s_min": options.batch / max(windows),
        "samples_per_s_max": options.batch / min(windows), "busy": statistics.median(busy)}))


if __name__ == "__main__":
    main()
