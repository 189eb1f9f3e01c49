# SPDX-License-Identifier: Apache-2.0
"""The tables of `make science`: which definitions each is made of, what is kept of their runs, and the quick form.

A table is a list of experiments, each a definition in schema/examples/science/. One whose `rates` names a tuning
experiment gets, rule by rule, the learning rate and decay that did best there on the validation part. The quick form
is the same definition with some fields replaced (`quick`: dotted path to value), on the built-in dataset strokes."""
import copy
import json
import os
from typing import NamedTuple, Optional

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
DEFINITIONS = os.path.join(ROOT, "schema", "examples", "science")


class Experiment(NamedTuple):
    name: str                       # of the definition's file, without .json
    tuning: bool = False            # made to choose rates by validation/accuracy
    rates: Optional[str] = None     # the tuning experiment whose choice it takes
    metrics: tuple = ()             # summarised over seeds by the server
    baseline: Optional[dict] = None  # the point that others are compared with, seed by seed, with its rates added
    series: tuple = ()              # kept of every run, averaged over bins of steps
    bins: int = 1                   # bins an epoch
    quick: dict = {}

    def definition(self, quick):
        with open(os.path.join(DEFINITIONS, self.name + ".json"), encoding="utf-8") as file:
            definition = json.load(file)
        for path, value in (self.quick if quick else {}).items():
            set_path(definition, path, copy.deepcopy(value))
        return definition


class Table(NamedTuple):
    key: str
    title: str
    dataset: str
    experiments: tuple

    def definitions(self, quick):
        return {e.name: e.definition(quick) for e in self.experiments}


def set_path(value, path, new):
    """Sets the field at a dotted path, as a sweep does; objects on the way are made."""
    *way, last = path.split(".")
    for step in way:
        value = value[int(step)] if isinstance(value, list) else value.setdefault(step, {})
    value[int(last) if isinstance(value, list) else last] = new


def get_path(value, path, default=None):
    for step in path.split("."):
        if isinstance(value, list):
            value = value[int(step)] if int(step) < len(value) else None
        else:
            value = value.get(step) if isinstance(value, dict) else None
        if value is None:
            return default
    return value


def setting(experiment, run, path, default=None):
    """What a run had at a dotted path: the definition with the run's parameters."""
    definition = copy.deepcopy(experiment["definition"])
    for name, value in sorted(run["parameters"].items()):
        set_path(definition, name, value)
    return get_path(definition, path, default)


def grids(definition):
    sweep = definition.get("sweep", {})
    return sweep if isinstance(sweep, list) else [sweep]


def rules(definition):
    """The rules that occur in a definition."""
    swept = [rule for grid in grids(definition) for rule in grid.get("rule.name", [])]
    return sorted(set(swept or [definition["rule"]["name"]]))


def with_rates(definition, chosen):
    """The definition with one grid for each rule, which has the rates chosen for it."""
    made = []
    for grid in grids(definition):
        for rule in grid["rule.name"]:
            rates = {path: [value] for path, value in chosen[rule].items() if path.startswith("optimizer.")}
            made.append({**grid, "rule.name": [rule], **rates})
    return {**definition, "sweep": made}


def with_own_rates(baseline, definition):
    """The baseline's parameters with the rates that its rule alone has, so that pairs need not agree in them."""
    grid = next(g for g in grids(definition) if baseline["rule.name"] in g["rule.name"])
    return {**baseline, **{path: grid[path][0] for path in RATES if len(grid.get(path, [])) == 1}}


RATES = ("optimizer.lr", "optimizer.decay")
COSINES = ("alignment/modulation/*",)
SMALL = [{"units": 32}, {"units": 24}]
STROKES = {"dataset": {"name": "strokes", "train": 1600, "test": 300}, "network.layers": SMALL, "training.epochs": 4,
           "training.batch": 32, "record.every": 5, "optimizer.lr": 0.03}
VALIDATED = {**STROKES, "dataset": {"name": "strokes", "train": 1600, "validation": 200, "test": 1}}
QUICK_RULES = ["bp", "dfa", "wm", "sal"]


def arm(width, scale, probability):
    lateral = {"scale": scale, "connection_probability": probability}
    return {"network.layers": [[{"units": 32, "descending_units": width}, {"units": 32, "descending_units": width}]],
            "rule.groups": [{"V": lateral, "U": lateral, "B": {"connection_probability": probability}}],
            "optimizer.decay": [0.003], "training.seed": [1, 2]}


def nine_rules(name):
    """A tuning and a final experiment on MNIST."""
    tuning = {**VALIDATED, "record.every": 0,
              "sweep": {"rule.name": QUICK_RULES, "optimizer.lr": [0.02, 0.05], "optimizer.decay": [0.0001, 0.001]}}
    return (Experiment(f"{name}-tuning", tuning=True, quick=tuning),
            Experiment(name, rates=f"{name}-tuning", metrics=("test/accuracy",), baseline={"rule.name": "bp"},
                       series=COSINES,
                       quick={**STROKES, "sweep": {"rule.name": QUICK_RULES, "training.seed": [1, 2, 3]}}))


IDENTITY = {"V": {"init": "identity"}, "U": {"init": "identity"}}
CONVOLUTION = [{"type": "conv2d", "channels": 6, "kernel": 5, "stride": 2, "padding": 2}, {"units": 24}]

TABLES = {table.key: table for table in (
    Table("a", "Nine rules on MNIST", "mnist", nine_rules("a-one-layer") + nine_rules("a-two-layers")),
    Table("b", "Self-assembly of SAL", "mnist", (
        Experiment("b-self-assembly", metrics=("test/accuracy",), series=COSINES, bins=4, quick={
            **STROKES,
            "sweep": [{"rule.gate": [True], **arm(32, 0.5, 1)}, {"rule.gate": [False], **arm(32, 0.5, 1)},
                      {"rule.gate": [False], **arm(16, 0.5, 1)}, {"rule.gate": [False], **arm(16, 1, 0.5)}]}),)),
    Table("c", "Depth", "mnist", (
        Experiment("c-depth", metrics=("test/accuracy",), series=COSINES,
                   baseline={"rule.name": "bp"}, quick={
                       **STROKES,
                       "sweep": [{"rule.name": [rule], "optimizer.decay": [decay], "optimizer.lr": [0.03],
                                  "network.layers": [[{"units": 16}] * depth for depth in (1, 3)],
                                  "training.seed": [1, 2]} for rule, decay in (("bp", 0.0001), ("sal", 0.001))]}),)),
    Table("d", "Convolutions on CIFAR-10", "cifar10", (
        Experiment("d-cifar10-tuning", tuning=True, quick={
            **VALIDATED, "network.layers": CONVOLUTION, "training.epochs": 1, "record.every": 0,
            "sweep": {"rule.name": ["bp", "kp"], "optimizer.lr": [0.03, 0.1], "optimizer.decay": [0.0005]}}),
        Experiment("d-cifar10", rates="d-cifar10-tuning", metrics=("test/accuracy",), baseline={"rule.name": "bp"},
                   series=COSINES, quick={
                       **STROKES, "network.layers": CONVOLUTION, "training.epochs": 1,
                       "sweep": {"rule.name": ["bp", "kp"], "training.seed": [1, 2]}}))),
    Table("e", "Lesion of the laterals and recovery", "mnist", (
        Experiment("e-lesion", metrics=("test/accuracy",), series=COSINES + ("test/accuracy",), bins=7, quick={
            **STROKES, "optimizer.schedule": {"type": "constant"},
            "sweep": [{"training.seed": [1, 2]},
                      {"interventions": [[{"epoch": 2, "type": "lesion", "group": "V", "layer": 1, "fraction": share}]
                                         for share in (0.5, 1)], "training.seed": [1, 2]}]}),)),
    Table("f", "SAL that assembles wholly", "mnist", (
        Experiment("f-assembled", metrics=("test/accuracy",), baseline={"rule.name": "bp"}, series=COSINES, bins=4,
                   quick={
                       **STROKES,
                       "sweep": [{"rule.name": ["bp"], "optimizer.decay": [0.0001], "training.seed": [1, 2]},
                                 {"rule.name": ["sal"], "rule.groups": [IDENTITY], "optimizer.decay": [0.001],
                                  "training.seed": [1, 2]}]}),)),
)}
