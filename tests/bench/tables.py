#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""Shows what bench.py measured, in Markdown.

    tables.py build/bench.json                     prints it
    tables.py build/bench.json --into FILE.md      puts it between FILE.md's lines <!-- bench --> and <!-- /bench -->
"""
import argparse
import json
import re


# ---- figures ----


def thousands(value):
    return f"{value / 1000:.1f}k" if value >= 1000 else f"{value:.0f}"


def percent(value):
    return f"{100 * value:.1f} %"


def whole_percent(value):
    return f"{100 * value:.3g} %"


def times(value):
    return f"{value:.2f}"


def duration(seconds):
    for unit, size in (("s", 1.0), ("ms", 1e-3), ("us", 1e-6)):
        if abs(seconds) >= size:
            break
    return f"{seconds / size:.3g} {unit}"


def size(count):
    return f"{count / 2**20:.2f} MiB"


def bound(goal):
    return ("at least", goal["at_least"]) if goal["at_most"] is None else ("at most", goal["at_most"])


def spread(figure, form):
    """Median (least - greatest), with the goal where there is one; bold where it is missed."""
    if figure is None:
        return ""
    text = form(figure["median"])
    if figure["min"] < figure["max"]:
        text += f" ({form(figure['min'])} - {form(figure['max'])})".replace(" %", "")
    if "goal" not in figure:
        return text
    side, value = bound(figure["goal"])
    text += f", goal {'<= ' if side == 'at most' else ''}{(whole_percent if form is percent else form)(value)}"
    return text if figure["goal"]["met"] else f"**{text}**"


def goals(part):
    """Every figure in a part of the result that has a goal."""
    if isinstance(part, dict) and "goal" in part:
        yield part
    elif isinstance(part, (dict, list)):
        for inner in part.values() if isinstance(part, dict) else part:
            yield from goals(inner)


# ---- tables ----


def table(title, head, rows):
    lines = [f"### {title}", "", "| " + " | ".join(head) + " |", "|---" * len(head) + "|"]
    return "\n".join(lines + ["| " + " | ".join(row) + " |" for row in rows]) + "\n"


def network_tables(rows):
    yield table("Backpropagation with momentum, one thread, samples/s",
                ["network", "Tetrad", "share of the FMA limit", "PyTorch", "Tetrad / PyTorch", "C on OpenBLAS",
                 "Tetrad / OpenBLAS"],
                [[r["name"], spread(r["rates"]["bp"], thousands), spread(r["shares"]["bp"], percent),
                  spread(r["rates"].get("torch"), thousands), spread(r["bp_over_torch"], times),
                  spread(r["rates"].get("blas"), thousands), spread(r["bp_over_blas"], times)] for r in rows])
    for row in rows:
        if row["convolutional"]:
            yield f"{row['name'].split()[0]}: {row['network']}.\n"
    yield table("SAL, one thread; its FLOPs are its own",
                ["network", "samples/s", "share of the FMA limit", "time of a step / bp's", "FLOPs / bp's",
                 "time ratio / FLOP ratio"],
                [[r["name"], spread(r["rates"]["sal"], thousands), spread(r["shares"]["sal"], percent),
                  spread(r["sal_time_over_bp"], times), times(r["sal_flops_over_bp"]),
                  spread(r["sal_excess"], times)] for r in rows])
    yield table("Memory of a run", ["network", "rule", "weights, velocities, activities once", "allocated", "beyond"],
                [[r["name"], rule, size(m["arrays"]), size(m["allocated"]), spread(m["excess"], percent)]
                 for r in rows for rule, m in r["memory"].items()])


def thread_table(r):
    titles = {"one": "one thread", "two_threads": "two threads in one run",
              "two_threads_busy_core": "two threads, one core taken by another program",
              "runs_at_once": f"{r['runs_at_once']} runs at once, together"}
    return table(f"Threads, bp {r['name']}", ["", "samples/s", "/ one thread"],
                 [[titles[name], spread(rate, thousands), spread(r["over_one"].get(name), times)]
                  for name, rate in r["rates"].items()])


def telemetry_table(rows):
    return table("Alignment recorded every 100 steps", ["network", "rule", "one record", "share of the run's time"],
                 [[r["name"], r["rule"], spread(r["record_seconds"], duration), spread(r["cost"], percent)]
                  for r in rows])


def instruction_table(rows):
    return table("Instructions of a step", ["network", "rule", "kernels", "instructions"],
                 [[r["name"], r["rule"], r["isa"], f"{r['per_step']:,}"] for r in rows])


def grid_table(cells):
    batches = sorted({c["batch"] for c in cells})
    at = {(c["width"], c["depth"], c["batch"]): c for c in cells}

    def text(cell):
        return "-" if "left_out" in cell else f"{duration(cell['seconds_per_step'])}, {100 * cell['share']:.0f} %"

    rows = [[str(width), str(depth), *(text(at[width, depth, batch]) for batch in batches)]
            for width, depth in dict.fromkeys((c["width"], c["depth"]) for c in cells)]
    return table("Time of a step and share of the FMA limit, bp, one thread",
                 ["width", "depth", *(f"batch {batch}" for batch in batches)], rows) + "\n" + grid_notes(cells)


def grid_notes(cells):
    """What the table's cells are, and the worst of those that should be good."""
    def names(some):
        return ", ".join(f"{c['width']} x {c['depth']} b{c['batch']} ({100 * c['share']:.0f} %)" for c in some)

    judged = sorted((c for c in cells if c["width"] >= 128 and c["batch"] >= 32 and "share" in c),
                    key=lambda c: c["share"])
    low = [c for c in judged if c["share"] < 0.5]
    notes = "Inputs and hidden layers of the width, 10 outputs; depth: layers of weights."
    for why, words in (("time", "would take too long"), ("memory", "would not fit into memory")):
        left_out = [f"{c['width']} x {c['depth']} b{c['batch']}" for c in cells if c.get("left_out") == why]
        notes += f" Left out, as it {words}: {', '.join(left_out)}." if left_out else ""
    if judged:
        notes += (f" Of the {len(judged)} cells with widths from 128 and batches from 32, {len(low)} are below half of "
                  f"the limit{': ' + names(low) if low else '; the worst: ' + names(judged[:5])}.")
    return notes + "\n"


def summary_of_goals(result):
    judged = [figure["goal"] for figure in goals(result)]
    missed = [goal for goal in judged if not goal["met"]]
    text = f"{len(judged) - len(missed)} of {len(judged)} goals are met on this machine."
    if missed:
        text += " Missed, and bold below: " + "; ".join(goal["what"] for goal in missed) + "."
    return text + "\n"


def parts(result, fold):
    """The whole result, part by part. fold: the longest table opens at a click."""
    m = result["machine"]
    yield (f"{m['processor']}, {m['family']}, {m['cores']} cores{m['caches']}; {m['compiler']}; "
           f"revision {m['revision'] or 'unknown'}; {m['date'][:10]}, {result['mode']}.\n"
           f"Kernels {m['isa']}; FMA limit {m['limit']['1']:.0f} GFLOP/s on one core, {m['limit']['2']:.0f} on two. "
           f"Medians of {result['rounds']} alternating rounds (least - greatest).\n")
    if "torch" not in result["missing"] and "networks" in result:
        yield ("PyTorch runs with an allocator that keeps its memory, without OPENBLAS_CORETYPE, and with images in "
               "the faster order.\n")
    yield from (f"**Warning: {warning}.**\n" for warning in result["warnings"])
    if any(goals(result)):
        yield summary_of_goals(result)
    if "networks" in result:
        yield from network_tables(result["networks"])
    if "threads" in result:
        yield thread_table(result["threads"])
    if "telemetry" in result:
        yield telemetry_table(result["telemetry"])
    if result.get("instructions"):
        yield instruction_table(result["instructions"])
    if "grid" in result and fold:
        yield ("<details><summary>Time of a step over width, depth and batch</summary>\n\n"
               f"{grid_table(result['grid'])}\n</details>\n")
    elif "grid" in result:
        yield grid_table(result["grid"])


def markdown(result, fold=False):
    return "\n".join(parts(result, fold))


def insert(path, text):
    with open(path) as file:
        whole = file.read()
    filled, count = re.subn(r"(<!-- bench -->\n).*?(<!-- /bench -->\n)",
                            lambda found: found[1] + "\n" + text + "\n" + found[2], whole, flags=re.S)
    if count != 1:
        raise SystemExit(f"tables: {path}: expected the lines <!-- bench --> and <!-- /bench --> once, found {count}")
    with open(path, "w") as file:
        file.write(filled)


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("result")
    parser.add_argument("--into", metavar="FILE")
    options = parser.parse_args()
    with open(options.result) as file:
        result = json.load(file)
    if options.into:
        insert(options.into, markdown(result, fold=True))
    else:
        print(markdown(result))


if __name__ == "__main__":
    main()
