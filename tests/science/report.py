# SPDX-License-Identifier: Apache-2.0
"""Results of `make science` as JSON, and the page that is made from them alone: the same results, the same bytes.

The page is OUT/README.md. What people conclude is theirs: OUT/conclusions/TABLE.md, where it exists, is taken in."""
import json
import os

import sections
import tables

HERE = os.path.dirname(os.path.abspath(__file__))


def rounded(value, digits):
    """A value with all floats in it rounded to significant digits."""
    if isinstance(value, float):
        return float(f"{value:.{digits}g}")
    if isinstance(value, dict):
        return {k: rounded(v, digits) for k, v in value.items()}
    return [rounded(v, digits) for v in value] if isinstance(value, list) else value


def clock(seconds):
    minutes, seconds = divmod(round(seconds), 60)
    return f"{minutes}:{seconds:02d}"


def dump(value, depth=0):
    """JSON with sorted names; what is five levels down is on one line, so that a run is a line."""
    flat = json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=False)
    small = depth > 3 or len(flat) < 100
    if small or not isinstance(value, (dict, list)) or not value:
        return flat + "\n" * (depth == 0)
    if isinstance(value, dict):
        inside = [f"{json.dumps(k)}: {dump(v, depth + 1)}" for k, v in sorted(value.items())]
    else:
        inside = [dump(v, depth + 2) for v in value]
    space = "  " * depth
    begin, end = "{}" if isinstance(value, dict) else "[]"
    return begin + "\n" + ",\n".join(f"{space}  {line}" for line in inside) + f"\n{space}{end}" + "\n" * (depth == 0)


def results(out):
    """{table: its results} of those that are finished."""
    found = {}
    for name in sorted(tables.TABLES):
        path = os.path.join(out, "results", f"{name}.json")
        if os.path.exists(path):
            with open(path, encoding="utf-8") as file:
                found[name] = json.load(file)
    return found


def pictures(found, out, say):
    """Draws what can be drawn where matplotlib is there; pictures from before stay otherwise."""
    try:
        import figures
    except ImportError:
        say("no matplotlib: tables without pictures (deploy/deps science installs it)")
        return
    for name, result in found.items():
        figures.draw(result, os.path.join(out, f"{name}.png"))


def conclusions(out, name):
    path = os.path.join(out, "conclusions", f"{name}.md")
    if not os.path.exists(path):
        return []
    with open(path, encoding="utf-8") as file:
        return [file.read().strip(), ""]


INTRODUCTION = """\
# The science: tables of learning rules

Written by `make science` (tests/science) from [results](results); do not edit. It trains the definitions of this
folder with a server of its own, chooses rates on a validation part, and repeats the runs over seeds. Runs with
the same seed share their initial ascending synapses and every mini-batch, so that differences are paired. Accuracies
are those of the last epoch on the test part, which no choice of rates has seen. Intervals are 95 % t intervals
over seeds; p is Wilcoxon's signed-rank test, which with n pairs is never below 2^(1-n), adjusted by Holm for the
comparisons of its experiment. A run that diverged has no accuracy: n says how many have. The cosine is that of the
modulation that reaches a layer with the backpropagated signal on the same mini-batch, layer 1 next to the input.

A run's result is the same to the last bit on every processor and with any number of threads; its digest, in
[results](results), proves it: `tetrad run` on a run's definition must give it again."""


def quick_note(found):
    return ["**This is the quick form: small networks on built-in data, to test the program. It shows nothing about "
            "the rules.**", ""] if any(r["quick"] for r in found.values()) else []


def provenance(result):
    """Where to find each experiment's definition, hash and digests."""
    rows = []
    for experiment in result["experiments"]:
        runs = experiment["runs"]
        ended = [r["state"] for r in runs]
        rows.append([f"`{experiment['name']}`", f"`{experiment['hash'][7:19]}`", len(runs), ended.count("diverged"),
                     f"`{runs[0]['digest'][7:19]}`" if runs[0]["digest"] else "-", clock(experiment["core_seconds"])])
    return sections.markdown(["definition", "hash", "runs", "diverged", "digest of the first run", "core time, min"],
                             rows)


def page(out, say):
    found = results(out)
    pictures(found, out, say)
    lines = [INTRODUCTION, "", *quick_note(found)]
    with open(os.path.join(HERE, "published.json"), encoding="utf-8") as file:
        published = json.load(file)
    for name, result in found.items():
        lines += [f"## {name.upper()}. {result['title']}", ""]
        lines += sections.SECTIONS[name](result, [p for p in published if p["table"] == name])
        if os.path.exists(os.path.join(out, f"{name}.png")):
            lines += [f"![{sections.CAPTIONS[name]}]({name}.png)", "", f"*{sections.CAPTIONS[name]}*", ""]
        lines += conclusions(out, name) + provenance(result)
    return "\n".join(lines).rstrip() + "\n"
