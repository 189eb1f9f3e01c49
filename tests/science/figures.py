# SPDX-License-Identifier: Apache-2.0
"""The page's pictures, from a table's results: axes with units, bands over seeds, colours for all eyes (Okabe and Ito
2008) with markers and dashes beside them. The same results give the same bytes with one matplotlib."""
import math

import matplotlib

matplotlib.use("Agg")
import matplotlib.pyplot as plt  # noqa: E402
from matplotlib.ticker import MaxNLocator  # noqa: E402

import sections  # noqa: E402
import tables  # noqa: E402

COLORS = ["#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#000000"]
MARKERS = ["o", "s", "^", "D", "v", "P", "X"]
DASHES = ["-", "--", "-.", ":"]
STYLE = {"font.family": "DejaVu Sans", "font.size": 9, "axes.spines.top": False, "axes.spines.right": False,
         "axes.grid": True, "grid.alpha": 0.25, "legend.frameon": False}


def save(figure, path):
    figure.savefig(path, dpi=100, metadata={"Software": None})
    plt.close(figure)


def course(axis, runs, name, style, label):
    """A line through the means over seeds, and a band from the least to the greatest."""
    runs = [run["series"][name] for run in sections.succeeded(runs) if name in run["series"]]
    if not runs:
        return
    steps = [s / 1000 for s in runs[0]["steps"]]
    values = [[v for v in bin if v is not None] or [math.nan] for bin in zip(*(run["values"] for run in runs))]
    axis.fill_between(steps, [min(v) for v in values], [max(v) for v in values], color=style["color"], alpha=0.2,
                      linewidth=0)
    axis.plot(steps, [sections.mean(v) for v in values], label=label, linewidth=1.2, **style)


def accuracies(result):
    """Table a, d: a panel for each network; seeds as dots, mean and interval beside them."""
    finals = [e for e in result["experiments"] if e["summary"]]
    figure, axes = plt.subplots(1, len(finals), figsize=(4.6 * len(finals), 3.2), squeeze=False)
    for axis, experiment in zip(axes[0], finals):
        found = sections.by_rule(experiment)
        for i, (rule, parameters, runs) in enumerate(found):
            values = [100 * run["final"]["test/accuracy"] for run in sections.succeeded(runs)]
            axis.plot(values, [i + 0.15] * len(values), ".", color="#888888", markersize=4)
            point = sections.point_of(experiment, parameters)
            if point and point.get("interval"):
                low, high = (100 * v for v in point["interval"])
                axis.plot([low, high], [i - 0.1] * 2, "-", color=COLORS[0], linewidth=1.5)
            if point and point.get("mean") is not None:
                axis.plot([100 * point["mean"]], [i - 0.1], "D", color=COLORS[1 if rule == "sal" else 0], markersize=5)
        axis.set_yticks(range(len(found)), [rule for rule, *_ in found])
        axis.invert_yaxis()
        axis.set_xlabel("test accuracy, %")
        axis.set_title(f"hidden layers: {sections.network_text(experiment)}", fontsize=9)
    return figure


def self_assembly(result):
    """Table b: a panel for each stream, decay (rows) and connection probability (columns)."""
    experiment = result["experiments"][0]
    panels, scales = {}, set()
    for parameters, runs in sections.groups(experiment):
        stream, decay, probability, scale = sections.arm_of(experiment, parameters)
        panels.setdefault((stream, decay), {}).setdefault(probability, {})[scale] = runs
        scales.add(scale)
    columns = sorted({p for row in panels.values() for p in row}, reverse=True)
    scales, layers = sorted(scales), sections.layers_of(experiment["runs"])
    figure, axes = plt.subplots(len(panels), len(columns), figsize=(3.1 * len(columns) + 0.6, 1.75 * len(panels) + 0.9),
                                squeeze=False, sharex=True, sharey=True)
    for row, ((stream, decay), found) in zip(axes, panels.items()):
        for axis, probability in zip(row, columns):
            axis.set_visible(probability in found)
            for scale, runs in found.get(probability, {}).items():
                for layer in layers:
                    style = {"color": COLORS[scales.index(scale)], "linestyle": DASHES[(layer - 1) % len(DASHES)]}
                    course(axis, runs, f"alignment/modulation/{layer}", style, f"scale {scale:g}, layer {layer}")
            axis.axhline(0.5, color="#888888", linewidth=0.6, linestyle=":")
            axis.set_title(f"{stream}, decay {decay:g}, p {probability:g}", fontsize=8)
        row[0].set_ylabel("cosine")
    for axis in axes[-1]:
        axis.set_xlabel("mini-batches, thousands")
    handles = {h[1]: h[0] for axis in axes.flat for h in zip(*axis.get_legend_handles_labels())}
    names = sorted(handles)
    figure.legend([handles[n] for n in names], names, loc="lower center", ncol=3, fontsize=8)
    return figure


def depth(result):
    """Table c: accuracy by depth and rule; SAL's cosine by layer, a line for each depth."""
    experiment = result["experiments"][0]
    figure, (left, right) = plt.subplots(1, 2, figsize=(9.2, 3.3))
    lines, sal = {}, {}
    for parameters, runs in sections.groups(experiment):
        layers = len(tables.setting(experiment, {"parameters": parameters}, "network.layers"))
        rule = sections.rule_text(experiment, parameters)
        lines.setdefault(rule, []).append((layers, sections.point_of(experiment, parameters)))
        if rule == "sal":
            sal[layers] = runs
    for i, (rule, points) in enumerate(lines.items()):
        points = [(n, p) for n, p in sorted(points, key=lambda x: x[0]) if p and p.get("mean") is not None]
        x, y = [n for n, _ in points], [100 * p["mean"] for _, p in points]
        if points and all(p.get("interval") for _, p in points):
            low, high = ([100 * p["interval"][end] for _, p in points] for end in (0, 1))
            left.fill_between(x, low, high, color=COLORS[i], alpha=0.2, linewidth=0)
        left.plot(x, y, color=COLORS[i], marker=MARKERS[i], linestyle=DASHES[i % 4], label=rule, markersize=4)
    left.set(xlabel="hidden layers", ylabel="test accuracy, %")
    left.legend()
    for i, (layers, runs) in enumerate(sorted(sal.items())):
        by_layer = [(n, c) for n in range(1, layers + 1) if (c := sections.cosine(runs, n)) is not None]
        right.plot([n for n, _ in by_layer], [c for _, c in by_layer], color=COLORS[i], marker=MARKERS[i],
                   label=f"{layers} {'layer' if layers == 1 else 'layers'}", linewidth=1.2, markersize=4)
    right.set(xlabel="hidden layer, from the input", ylabel="cosine of sal at the end",
              ylim=(min(0, right.get_ylim()[0]), 1))
    right.legend()
    for axis in (left, right):
        axis.xaxis.set_major_locator(MaxNLocator(integer=True))
    return figure


def lesion(result):
    """Table e: the cosine's course, a panel for each layer, a line for each share."""
    experiment = result["experiments"][0]
    layers = sections.layers_of(experiment["runs"])
    figure, axes = plt.subplots(1, len(layers), figsize=(4.6 * len(layers), 3.2), squeeze=False, sharey=True)
    for axis, layer in zip(axes[0], layers):
        for i, (parameters, runs) in enumerate(sections.groups(experiment)):
            lesions = tables.setting(experiment, {"parameters": parameters}, "interventions", [])
            label = f"{100 * lesions[0]['fraction']:g} % of V1" if lesions else "no lesion"
            style = {"color": COLORS[i % len(COLORS)], "linestyle": DASHES[i % len(DASHES)]}
            course(axis, runs, f"alignment/modulation/{layer}", style, label)
        step = sections.lesion_step(experiment)
        axis.axvline(step / 1000, color="#444444", linewidth=0.8, linestyle=":")
        axis.set(xlabel="mini-batches, thousands", title=f"hidden layer {layer}")
    axes[0][0].set_ylabel("cosine with the gradient")
    axes[0][0].legend(fontsize=8)
    return figure


def assembled(result):
    """Table f: the cosine's course, a panel for each layer, a line for each setting of SAL."""
    experiment = result["experiments"][0]
    layers = sections.layers_of(experiment["runs"])
    shown = [(p, runs) for p, runs in sections.groups(experiment) if p["rule.name"] != "bp"]
    figure, axes = plt.subplots(1, len(layers), figsize=(4.6 * len(layers), 4.2), squeeze=False, sharey=True)
    for axis, layer in zip(axes[0], layers):
        for i, (parameters, runs) in enumerate(shown):
            style = {"color": COLORS[i % len(COLORS)], "linestyle": DASHES[i % len(DASHES)]}
            label = sections.setting_text(experiment, parameters).split(", ", 1)[1]
            course(axis, runs, f"alignment/modulation/{layer}", style, label)
        axis.axhline(0.9, color="#888888", linewidth=0.6, linestyle=":")
        axis.set(xlabel="mini-batches, thousands", title=f"hidden layer {layer}", ylim=(0, 1))
    axes[0][0].set_ylabel("cosine with the gradient")
    figure.legend(*axes[0][0].get_legend_handles_labels(), loc="lower center", ncol=1, fontsize=8)
    return figure


DRAWN = {"a": accuracies, "b": self_assembly, "c": depth, "d": accuracies, "e": lesion, "f": assembled}

LEGENDS = {"b": 0.06, "f": 0.18}  # share of the height that a legend below the panels takes


def draw(result, path):
    with matplotlib.rc_context(STYLE):
        figure = DRAWN[result["table"]](result)
        figure.tight_layout(rect=(0, LEGENDS.get(result["table"], 0), 1, 1))
        save(figure, path)
