# SPDX-License-Identifier: Apache-2.0
"""The networks that are measured, in the language of network.h, and what their training takes, counted independently
of the core: multiply-adds, and floats that have to be kept.

>>> lenet = read("1x28x28, conv 6 5 pad 2, max 2, conv 16 5, max 2, 120, 84, 10")
>>> [layer.macs for layer in lenet.layers]
[117600, 240000, 48000, 10080, 840]
>>> flops(lenet, "bp") == 2 * (2 * 416520 + 416520 - 117600)
True
>>> floats(read("3,4,2"), "bp", 5) == 2 * (12 + 8) + 4 + 2 + 5 * (3 + 4 + 2 + 4 + 2)
True
"""
import re
from typing import NamedTuple

NUMBER, IMAGE = r"\d+", r"(\d+) *x *(\d+) *x *(\d+)"
CONV, POOL = r"conv *(\d+) +(\d+)(?: *stride *(\d+))?(?: *pad *(\d+))?", r"(max|avg) *(\d+)(?: *stride *(\d+))?"


class Layer(NamedTuple):
    """A stage that is not the input. A dense one has images of 1 x 1 and a kernel of 0."""
    units: int
    inputs: int  # of a neuron
    kernel: int
    stride: int
    pad: int
    pool: str  # "", "max" or "avg"
    pool_size: int
    pool_stride: int
    positions: int  # of z_l
    rows: int  # of x_l, which is pooled
    columns: int

    @property
    def weights(self):
        return self.units * self.inputs

    @property
    def macs(self):
        return self.weights * self.positions

    @property
    def size(self):
        return self.units * self.rows * self.columns


class Network(NamedTuple):
    text: str
    image: tuple  # channels, rows, columns; (inputs, 1, 1) where the examples are no images
    layers: list

    @property
    def convolutional(self):
        return any(layer.kernel > 0 for layer in self.layers)


def count(n, kernel, stride, pad):
    """Where a window stops."""
    return (n + 2 * pad - kernel) // stride + 1


def read(text):
    """The network of a text; ValueError where it is none."""
    first, *items = [item.strip() for item in text.split(",")]
    if re.fullmatch(NUMBER, first):
        image = (int(first), 1, 1)
    elif found := re.fullmatch(IMAGE, first):
        image = tuple(map(int, found.groups()))
    else:
        raise ValueError(f"network \"{text}\": \"{first}\" is no input")
    layers, (channels, rows, columns) = [], image
    for item in items:
        if re.fullmatch(NUMBER, item):
            layers.append(Layer(int(item), channels * rows * columns, 0, 1, 0, "", 0, 0, 1, 1, 1))
        elif found := re.fullmatch(CONV, item):
            units, kernel, stride, pad = (int(value or default) for value, default in zip(found.groups(), "1110"))
            rows, columns = (count(n, kernel, stride, pad) for n in (rows, columns))
            layers.append(Layer(units, channels * kernel ** 2, kernel, stride, pad, "", 0, 0, rows * columns, rows,
                                columns))
        elif (found := re.fullmatch(POOL, item)) and layers and layers[-1].kernel > 0 and not layers[-1].pool:
            size, stride = int(found[2]), int(found[3] or found[2])
            rows, columns = (count(n, size, stride, 0) for n in (rows, columns))
            layers[-1] = layers[-1]._replace(pool=found[1], pool_size=size, pool_stride=stride, rows=rows,
                                             columns=columns)
        else:
            raise ValueError(f"network \"{text}\": \"{item}\" is no layer")
        channels, rows, columns = layers[-1].units, layers[-1].rows, layers[-1].columns
    return Network(text, image, layers)


def flops(network, rule):
    """Of the products that train on one example. Every array of synapses carries once and is changed once: W_l and B_l
    at each position of z_l, V_l and U_l's change at each of z_l, u_l = U_l x_l at each of x_l. bp carries by W_l
    again, but not to the input."""
    first, *others = network.layers
    macs = 2 * first.macs + sum(2 * layer.macs for layer in others)
    if rule in ("bp", "fa", "kp", "sal"):
        macs += sum(layer.macs for layer in others)  # back by W_l, or by B_l
    if rule in ("kp", "sal"):
        macs += sum(layer.macs for layer in others)  # B_l's change
    if rule == "sal":
        macs += sum(layer.units ** 2 * (3 * layer.positions + layer.rows * layer.columns)
                    for layer in network.layers[:-1])
    return 2 * macs


def floats(network, rule, batch):
    """Of weights, of velocities and biases, and of a mini-batch's activities, each once: what a run cannot do without.
    A pooled layer keeps its activity before and after the pooling."""
    first, *others = network.layers
    hidden = network.layers[:-1]
    synapses = sum(layer.weights for layer in network.layers)
    frozen = 0
    if rule == "fa":
        frozen = sum(layer.weights for layer in others)
    if rule in ("kp", "sal"):
        synapses += sum(layer.weights for layer in others)
    if rule == "sal":
        synapses += sum(2 * layer.units ** 2 for layer in hidden)
    activities = network.image[0] * network.image[1] * network.image[2]
    for i, layer in enumerate(network.layers):
        z = layer.units * layer.positions
        activities += z + (layer.size if layer.pool else 0)  # x_l
        activities += z  # s_l, and m_l where it is the same
        if rule == "sal" and i < len(hidden):
            activities += z + layer.size  # m_l, u_l
    return 2 * synapses + frozen + sum(layer.units for layer in network.layers) + batch * activities
