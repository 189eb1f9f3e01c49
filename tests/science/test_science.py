#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""The maker of the tables of the science, in its quick form: it is stopped and killed on the way and goes on to the
results that an undisturbed one has, does nothing when started again, notices what changed, and writes the same page
from the same results."""
import copy
import glob
import json
import os
import random
import shutil
import signal
import subprocess
import sys
import tempfile
import time

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), ".."))
import tap  # noqa: E402
import report  # noqa: E402
import science  # noqa: E402
import sections  # noqa: E402
import tables  # noqa: E402
from server import Server  # noqa: E402

RUNNER = os.path.join(os.path.dirname(os.path.abspath(__file__)), "science.py")
FOLDER = tempfile.mkdtemp(prefix="tetrad-science-")
PATIENCE_S = 600


def start(state, *options):
    return subprocess.Popen([sys.executable, RUNNER, "--tetrad", tap.TETRAD, "--quick", "--state", state, *options],
                            stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)


def finish(state, *options, status=0):
    """What a runner says until it ends."""
    runner = start(state, *options)
    said, _ = runner.communicate(timeout=PATIENCE_S)
    assert runner.returncode == status, f"{options}: status {runner.returncode}\n{said}"
    return said


def results(state):
    found = {}
    for path in sorted(glob.glob(os.path.join(state, "results", "*.json"))):
        with open(path, encoding="utf-8") as file:
            found[os.path.basename(path)] = json.load(file)
    return found


def timeless(found):
    """Results without how long they took."""
    found = copy.deepcopy(found)
    for result in found.values():
        for experiment in result["experiments"]:
            del experiment["core_seconds"]
    return found


def page(state):
    with open(os.path.join(state, "README.md"), encoding="utf-8") as file:
        return file.read()


def undisturbed():
    """The state folder of a runner that nobody disturbed, made once."""
    state = os.path.join(FOLDER, "undisturbed")
    if not os.path.exists(state):
        finish(state)
    return state


def is_hash(text):
    return text.startswith("sha256:") and len(text) == 71 and set(text[7:]) <= set("0123456789abcdef")


def test_rows_hashes_and_digests():
    found = results(undisturbed())
    assert list(found) == [f"{key}.json" for key in sorted(tables.TABLES)], list(found)
    for name, result in found.items():
        for experiment in result["experiments"]:
            assert is_hash(experiment["hash"]), experiment["hash"]
            expected = sum(product(grid) for grid in tables.grids(experiment["definition"]))
            assert len(experiment["runs"]) == expected, f"{name}: {len(experiment['runs'])} runs of {expected}"
            for run in experiment["runs"]:
                assert run["state"] in ("succeeded", "diverged"), run
                assert is_hash(run["hash"]), run["hash"]
                assert run["state"] == "diverged" or is_hash(run["digest"]), run
            points = sections.groups(experiment)
            for metric, summary in experiment["summary"].items():
                assert len(summary) == len(points), f"{name}: {metric}: {len(summary)} points of {len(points)}"
    text = page(undisturbed())
    for table in tables.TABLES.values():
        assert f"## {table.key.upper()}. {table.title}\n" in text, table.title


def product(grid):
    n = 1
    for values in grid.values():
        n *= len(values)
    return n


def test_the_summary_is_of_these_runs():
    checked = 0
    for result in results(undisturbed()).values():
        for experiment in result["experiments"]:
            for parameters, runs in sections.groups(experiment):
                point = sections.point_of(experiment, parameters)
                if point is None or not sections.succeeded(runs):
                    continue
                values = [run["final"]["test/accuracy"] for run in sections.succeeded(runs)]
                assert point["n"] == len(values), f"{parameters}: n {point['n']}, {len(values)} runs"
                assert abs(point["mean"] - sum(values) / len(values)) < 1e-5, f"{parameters}: {point['mean']}, {values}"
                checked += 1
    assert checked >= 10, checked


def test_differences_are_paired_by_seed():
    found = results(undisturbed())["a.json"]["experiments"][1]
    runs = {(r["parameters"]["rule.name"], r["parameters"]["training.seed"]): r["final"].get("test/accuracy")
            for r in found["runs"] if r["state"] == "succeeded"}
    checked = 0
    for parameters, own in sections.groups(found):
        point = sections.point_of(found, parameters)
        rule = parameters["rule.name"]
        pairs = [runs[rule, r["parameters"]["training.seed"]] - runs["bp", r["parameters"]["training.seed"]]
                 for r in sections.succeeded(own) if ("bp", r["parameters"]["training.seed"]) in runs]
        if rule == "bp" or not pairs:
            continue
        given = point["difference"]
        assert given["n"] == len(pairs), f"{rule}: {given}, {pairs}"
        assert abs(given["mean"] - sum(pairs) / len(pairs)) < 1e-5, f"{rule}: {given}, {pairs}"
        checked += 1
    assert checked >= 2, checked


def test_rates_are_the_best_of_the_grid():
    for name in ("a.json", "d.json"):
        tuning, final = results(undisturbed())[name]["experiments"][:2]
        for run in tuning["runs"]:
            if run["state"] == "succeeded":
                best = tuning["chosen"][run["parameters"]["rule.name"]]["validation/accuracy"]
                assert best >= run["final"]["validation/accuracy"], run
            assert not any(metric.startswith("test/") for metric in run["final"]), run
        for run in final["runs"]:
            chosen = tuning["chosen"][run["parameters"]["rule.name"]]
            for path in tables.RATES:
                assert run["parameters"][path] == chosen[path], f"{run['parameters']}: chosen {chosen}"


def test_choice_takes_accuracy_then_loss_and_no_diverged_run():
    def run(lr, accuracy, loss, state="succeeded"):
        return {"state": state, "parameters": {"rule.name": "bp", "optimizer.lr": lr, "optimizer.decay": 0.0},
                "final": {"validation/accuracy": accuracy, "validation/loss": loss}}
    grid = [run(0.1, 0.9, 0.5), run(0.2, 0.95, 0.6), run(0.3, 0.95, 0.4), run(0.4, 0.99, 0.1, "diverged")]
    assert science.choose(grid)["bp"]["optimizer.lr"] == 0.3
    try:
        science.choose([run(0.4, 0.99, 0.1, "diverged")])
    except SystemExit as refused:
        assert "bp" in str(refused)
    else:
        raise AssertionError("a rule of which all runs diverged got rates")


def test_a_second_start_does_nothing():
    state = undisturbed()
    before = {path: os.stat(path).st_mtime_ns for path in glob.glob(f"{state}/results/*") + glob.glob(f"{state}/*.db")}
    text = page(state)
    said = finish(state)
    assert "nothing to do" in said, said
    assert before == {path: os.stat(path).st_mtime_ns for path in before}
    assert page(state) == text


def test_the_page_is_reproducible_and_keeps_conclusions():
    state = os.path.join(FOLDER, "page")
    shutil.copytree(os.path.join(undisturbed(), "results"), os.path.join(state, "results"))
    finish(state, "--report")
    assert page(state) == page(undisturbed())
    for name in glob.glob(f"{state}/*.png"):
        with open(name, "rb") as one, open(os.path.join(undisturbed(), os.path.basename(name)), "rb") as other:
            assert one.read() == other.read(), name
        assert os.path.getsize(name) < 150 << 10, f"{name}: {os.path.getsize(name)} bytes"
    os.makedirs(f"{state}/conclusions")
    with open(f"{state}/conclusions/b.md", "w", encoding="utf-8") as file:
        file.write("Scale hardly matters.\n")
    finish(state, "--report")
    assert "Scale hardly matters." in page(state)


def test_killed_and_stopped_it_goes_on():
    state, seed = os.path.join(FOLDER, "disturbed"), random.SystemRandom().randrange(1 << 30)
    print(f"# seed {seed}")
    rng = random.Random(seed)
    for number in (signal.SIGKILL, signal.SIGINT, signal.SIGKILL):
        runner = start(state)
        time.sleep(rng.uniform(0.5, 2.5))  # anywhere: that is what is tested
        runner.send_signal(number)
        runner.communicate(timeout=PATIENCE_S)
        assert runner.returncode in (-number, 128 + number, 0), runner.returncode
    finish(state)
    assert timeless(results(state)) == timeless(results(undisturbed()))


def test_tables_without_data_are_skipped():
    state = os.path.join(FOLDER, "empty")
    os.makedirs(os.path.join(state, "data"))
    runner = subprocess.run([sys.executable, RUNNER, "--tetrad", tap.TETRAD, "--state", state, "--out", state, "--data",
                             os.path.join(state, "data")], capture_output=True, text=True, timeout=PATIENCE_S)
    assert runner.returncode == 0, runner.stderr
    for table in tables.TABLES.values():
        assert f"table {table.key} skipped: no dataset {table.dataset}" in runner.stdout, runner.stdout
    assert results(state) == {}


def test_two_runners_are_refused():
    state = os.path.join(FOLDER, "two")
    with science.alone(state):
        said = finish(state, status=1)
    assert "another runner" in said, said


def test_a_changed_definition_is_noticed():
    table = tables.TABLES["c"]
    same = science.key_of(table, True, tap.TETRAD)
    assert same == science.key_of(table, True, tap.TETRAD)
    changed = table.experiments[0]._replace(quick={**table.experiments[0].quick, "training.epochs": 1})
    assert science.key_of(table._replace(experiments=(changed,)), True, tap.TETRAD) != same
    state = os.path.join(FOLDER, "changed")
    shutil.copytree(undisturbed(), state)
    path = os.path.join(state, "results", "c.json")
    with open(path, encoding="utf-8") as file:
        result = json.load(file)
    with open(path, "w", encoding="utf-8") as file:
        json.dump({**result, "key": "another"}, file)
    said = finish(state)
    assert "table c: its definitions, or what this program computes, have changed" in said, said
    assert timeless(results(state)) == timeless(results(undisturbed()))


def test_what_nobody_wants_any_more_is_cancelled():
    state = os.path.join(FOLDER, "cancelled")
    os.makedirs(state)
    definition = tables.TABLES["c"].experiments[0].definition(True)
    long = {**definition, "training": {**definition["training"], "epochs": 100000}}
    with Server(tap.TETRAD, state, state, 1) as server:
        first = science.submit(server, long, "k" * 64)
        assert science.submit(server, long, "k" * 64) == first  # an earlier start's
        second = science.submit(server, definition, "k" * 64)
        science.wait(server, first, lambda *_: None)
        assert server.get(f"/v1/experiments/{first}")["state"] == "cancelled"
        assert server.get(f"/v1/experiments/{second}")["state"] != "cancelled"
        assert science.submit(server, long, "k" * 64) not in (first, second)


def test_bins_and_rounding():
    assert science.binned([5, 10, 15, 20], [0.0, 1.0, None, None], 10) == {"steps": [10, 20], "values": [0.5, None]}
    assert report.rounded({"a": [1 / 3, 2], "b": None}, 2) == {"a": [0.33, 2], "b": None}
    value = {"b": [{"x": 1, "y": [1, 2]}] * 40, "a": {"n": None}, "c": "é"}
    assert json.loads(report.dump(value)) == value
    assert report.dump(value).endswith("}\n")


def test_definitions_keep_the_schema():
    try:
        import jsonschema
    except ImportError:
        raise tap.Skip("no python3-jsonschema") from None
    with open(os.path.join(tap.ROOT, "schema", "experiment.schema.json"), encoding="utf-8") as file:
        validator = jsonschema.Draft202012Validator(json.load(file))
    used = {e.name for table in tables.TABLES.values() for e in table.experiments}
    there = {os.path.basename(p)[:-5] for p in glob.glob(os.path.join(tables.DEFINITIONS, "*.json"))}
    assert used == there, used ^ there
    for table in tables.TABLES.values():
        for quick in (False, True):
            for name, definition in table.definitions(quick).items():
                faults = [e.message for e in validator.iter_errors(definition)]
                assert not faults, f"{name}: {faults}"


def test_the_server_takes_the_full_definitions():
    state = os.path.join(FOLDER, "dry")
    os.makedirs(os.path.join(state, "data"))
    with Server(tap.TETRAD, state, os.path.join(state, "data"), 1) as server:
        for table in tables.TABLES.values():
            for name, definition in table.definitions(False).items():
                dataset = {"name": "strokes"}
                if "validation" in definition["dataset"]:
                    dataset["validation"] = 5000
                answer = server.ask("POST", "/v1/experiments?dry_run=1", {**definition, "dataset": dataset})
                expected = sum(product(grid) for grid in tables.grids(definition))
                assert answer["run_count"] == expected, f"{name}: {answer['run_count']} runs of {expected}"


if __name__ == "__main__":
    try:
        tap.run(globals())
    finally:
        shutil.rmtree(FOLDER, ignore_errors=True)
