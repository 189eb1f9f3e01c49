# SPDX-License-Identifier: Apache-2.0
"""What the page says about each table: text and tables, from a table's results."""
import tables

ORDER = ["bp", "fa", "dfa", "usf", "brsf", "frsf", "kp", "wm", "sal"]


def markdown(head, rows):
    """A table; its first column is aligned to the left, the others to the right."""
    lines = [head, ["---"] + ["---:"] * (len(head) - 1), *rows]
    return ["| " + " | ".join(str(cell) for cell in line) + " |" for line in lines] + [""]


# ---- numbers ----

def percent(value, digits=2):
    return "-" if value is None else f"{100 * value:.{digits}f}"


def with_interval(point):
    """Mean and interval in percent."""
    if not point or point.get("mean") is None:
        return "-"
    interval = point.get("interval")
    return percent(point["mean"]) + (f" [{percent(interval[0])}, {percent(interval[1])}]" if interval else "")


def difference(point):
    """Paired difference from the baseline in percentage points, with interval and p."""
    found = point and point.get("difference")
    if not found or found.get("mean") is None:
        return ["-", "-"]
    interval = found.get("interval")
    text = f"{100 * found['mean']:+.2f}"
    if interval:
        text += f" [{100 * interval[0]:+.2f}, {100 * interval[1]:+.2f}]"
    return [text, "-" if found["p_holm"] is None else f"{found['p_holm']:.3g}"]


def mean(values):
    """Of those that are there; None of none."""
    values = [v for v in values if v is not None]
    return sum(values) / len(values) if values else None


# ---- runs ----

def without_seed(parameters):
    return {k: v for k, v in parameters.items() if k != "training.seed"}


def groups(experiment):
    """[(parameters without the seed, runs)] in the order of the sweep."""
    found = []
    for run in experiment["runs"]:
        own = without_seed(run["parameters"])
        for parameters, runs in found:
            if parameters == own:
                runs.append(run)
                break
        else:
            found.append((own, [run]))
    return found


def point_of(experiment, parameters, metric="test/accuracy"):
    for point in experiment["summary"].get(metric, []):
        if point["parameters"] == parameters:
            return point
    return None


def succeeded(runs):
    return [run for run in runs if run["state"] == "succeeded"]


def count(runs):
    """How many seeds, and what became of the others."""
    good = len(succeeded(runs))
    return str(good) if good == len(runs) else f"{good} of {len(runs)}"


def layers_of(runs):
    names = {name for run in runs for name in run.get("series", {}) if name.startswith("alignment/modulation/")}
    return sorted(int(name.rsplit("/", 1)[1]) for name in names)


def cosine(runs, layer, at=-1):
    """Mean over seeds of a layer's cosine in one bin of its course: the last."""
    return mean([run["series"][f"alignment/modulation/{layer}"]["values"][at] for run in succeeded(runs)
                 if f"alignment/modulation/{layer}" in run.get("series", {})])


def short(value):
    return "-" if value is None else f"{value:.2f}"


def cosines(runs):
    return " ".join(short(cosine(runs, layer)) for layer in layers_of(runs)) or "-"


def time_to(run, layer, level=0.5):
    """The first step from which on a bin's mean cosine is at the level or above; None: not reached."""
    course = run["series"].get(f"alignment/modulation/{layer}", {"steps": [], "values": []})
    return next((s for s, v in zip(course["steps"], course["values"]) if v is not None and v >= level), None)


def by_rule(experiment):
    found = {parameters["rule.name"]: (parameters, runs) for parameters, runs in groups(experiment)}
    return [(rule, *found[rule]) for rule in ORDER if rule in found]


def network_text(experiment):
    def one(layer):
        if layer.get("type") == "conv2d":
            stride = f" /{layer['stride']}" if layer.get("stride", 1) > 1 else ""
            return f"conv {layer['kernel']}x{layer['kernel']}x{layer['channels']}{stride}"
        return str(layer["units"])
    return ", ".join(one(layer) for layer in tables.get_path(experiment["definition"], "network.layers"))


# ---- sections ----

def grid_text(tuning):
    """The grid that rates were chosen from, in words."""
    definition = tuning["definition"]
    rates = sorted({v for g in tables.grids(definition) for v in g["optimizer.lr"]})
    decays = sorted({v for g in tables.grids(definition) for v in g["optimizer.decay"]})
    epochs = definition["training"]["epochs"]
    validation = definition["dataset"]["validation"]
    return (f"Rates were chosen for each rule from lr {{{', '.join(map(str, rates))}}} x decay "
            f"{{{', '.join(map(str, decays))}}} by the accuracy on {validation} validation examples after {epochs} "
            f"{'epoch' if epochs == 1 else 'epochs'} of one seed.")


def rules_table(tuning, final):
    rows = []
    for rule, parameters, runs in by_rule(final):
        point, chosen = point_of(final, parameters), tuning["chosen"][rule]
        rows.append([f"`{rule}`", f"{chosen['optimizer.lr']:g}", f"{chosen['optimizer.decay']:g}",
                     percent(chosen["validation/accuracy"]), count(runs), with_interval(point), *difference(point),
                     cosines(runs)])
    return markdown(["rule", "lr", "decay", "validation, %", "n", "test accuracy, %", "less bp, points", "p (Holm)",
                     "cosine by layer"], rows)


def published_table(final, published):
    """Our accuracies beside those that others have published."""
    if not published:
        return []
    have = [rule for rule, *_ in by_rule(final)]
    ours = {rule: percent((point_of(final, parameters) or {}).get("mean")) for rule, parameters, _ in by_rule(final)}
    rows = [["this table", *(ours[rule] for rule in have)]]
    rows += [[p["source"], *(percent(p["accuracy"].get(rule)) for rule in have)] for p in published]
    notes = [f"- {p['source']}: {p['what']} ({p['where']})." for p in published]
    return ["Test accuracies in % beside published ones:", "", *markdown(["source", *have], rows), *notes, ""]


def tuned(result, published):
    lines = []
    experiments = result["experiments"]
    for tuning, final in zip(experiments[::2], experiments[1::2]):
        epochs = final["definition"]["training"]["epochs"]
        unit = "epoch" if epochs == 1 else "epochs"
        train = final["definition"]["dataset"].get("train", "all")
        lines += [f"### Hidden layers: {network_text(final)}", "",
                  f"{grid_text(tuning)} Then {epochs} {unit} on {train} training examples.", "",
                  *rules_table(tuning, final),
                  *published_table(final, [p for p in published if p["experiment"] == final["name"]])]
    return lines


def arm_text(experiment, parameters):
    run = {"parameters": parameters}
    layer = tables.setting(experiment, run, "network.layers")[0]
    width = layer.get("descending_units", layer["units"])
    gate = tables.setting(experiment, run, "rule.gate", True)
    return ("half" if 2 * width == layer["units"] else "full") + (", gate" if gate else ", no gate")


def arm_of(experiment, parameters):
    """(stream, decay, connection probability, lateral scale) of a point of table b."""
    run = {"parameters": parameters}
    return (arm_text(experiment, parameters), tables.setting(experiment, run, "optimizer.decay"),
            tables.setting(experiment, run, "rule.groups.V.connection_probability", 1),
            tables.setting(experiment, run, "rule.groups.V.scale", 0.5))


def times(runs, layer):
    """Least and greatest time to cosine 0.5 over seeds."""
    found = [time_to(run, layer) for run in succeeded(runs)]
    reached = sorted(t for t in found if t is not None)
    if not reached:
        return "not reached"
    text = str(reached[0]) if reached[0] == reached[-1] else f"{reached[0]} to {reached[-1]}"
    return text if len(reached) == len(found) else f"{text} ({len(reached)} of {len(found)})"


def self_assembly(result, _):
    experiment = result["experiments"][0]
    layers = layers_of(experiment["runs"])
    rows = []
    for parameters, runs in groups(experiment):
        stream, decay, probability, scale = arm_of(experiment, parameters)
        rows.append([stream, f"{decay:g}", f"{probability:g}", f"{scale:g}", count(runs),
                     *(times(runs, layer) for layer in layers), cosines(runs),
                     with_interval(point_of(experiment, parameters))])
    lr = tables.get_path(experiment["definition"], "optimizer.lr")
    return [f"`sal` on hidden layers {network_text(experiment)}, lr {lr}. Varied: the width of the descending stream "
            "(half as wide it cannot be gated; the full one is shown with the gate and without), decay, the connection "
            "probability of V, U and B, and the scale of the initial laterals. The time to cosine 0.5 is in "
            "mini-batches: the first quarter of an epoch whose mean reaches it, least and greatest over seeds. The "
            "cosine by layer is that of the last quarter.", "",
            *markdown(["descending stream", "decay", "connection probability", "lateral scale", "n",
                       *(f"to 0.5, layer {layer}" for layer in layers), "cosine by layer", "test accuracy, %"], rows)]


def rule_text(experiment, parameters):
    """A rule's name, with what sets it apart from another of that name."""
    start = tables.setting(experiment, {"parameters": parameters}, "rule.groups.V.init")
    return parameters["rule.name"] + (f", {start}" if start else "")


def depth(result, _):
    experiment = result["experiments"][0]
    rows = []
    for parameters, runs in groups(experiment):
        run = {"parameters": parameters}
        point = point_of(experiment, parameters)
        lr, decay = (tables.setting(experiment, run, path) for path in tables.RATES)
        layers = len(tables.setting(experiment, run, "network.layers"))
        rows.append([f"`{rule_text(experiment, parameters)}`", layers, f"{lr:g}", f"{decay:g}", count(runs),
                     with_interval(point), *difference(point), cosines(runs)])
    units = experiment["runs"][0]["parameters"]["network.layers"][0]["units"]
    depths = [row[1] for row in rows]
    return [f"{min(depths)} to {max(depths)} hidden layers of {units} neurons. Each rule has one pair of rates at "
            "every depth, not tuned by depth; `sal, identity` is SAL whose laterals start as the identity and learn slowly.",
            "",
            *markdown(["rule", "hidden layers", "lr", "decay", "n", "test accuracy, %", "less bp, points", "p (Holm)",
                       "cosine by layer"], rows)]


def lesion_step(experiment):
    """Mini-batches done when the lesion happens."""
    epochs = experiment["definition"]["training"]["epochs"]
    return experiment["runs"][0]["steps"] // epochs * lesion_of(experiment)["epoch"]


def lesion_of(experiment):
    """One of the lesions, which differ in their share alone."""
    return next(one for run in experiment["runs"] for one in tables.setting(experiment, run, "interventions", []))


def around(run, name, step):
    """A series' values last before a step, first after it, and at the end."""
    course = run["series"][name]
    before = [v for s, v in zip(course["steps"], course["values"]) if s <= step]
    after = [v for s, v in zip(course["steps"], course["values"]) if s > step]
    return before[-1], after[0], after[-1]


def around_all(runs, name, step):
    """Of all runs: three tuples."""
    return list(zip(*(around(run, name, step) for run in runs))) or [(), (), ()]


def lesion(result, _):
    experiment = result["experiments"][0]
    rows = []
    for parameters, runs in groups(experiment):
        lesions = tables.setting(experiment, {"parameters": parameters}, "interventions", [])
        good = succeeded(runs)
        step = lesion_step(experiment)
        row = [f"{lesions[0]['fraction']:g}" if lesions else "none", count(runs)]
        for name in [f"alignment/modulation/{layer}" for layer in layers_of(good)]:
            row += [short(mean(values)) for values in around_all(good, name, step)]
        accuracies = around_all(good, "test/accuracy", step)
        rows.append([*row, *(percent(mean(values)) for values in accuracies[:2]),
                     with_interval(point_of(experiment, parameters))])
    what = lesion_of(experiment)
    head = ["share of V1 silenced", "n"]
    for layer in layers_of(experiment["runs"]):
        head += [f"cosine {layer} before", "after", "end"]
    return [f"`sal` on hidden layers {network_text(experiment)}. After epoch {what['epoch']} a share of the lateral "
            f"synapses {what['group']}{what['layer']} is silenced for good; the others, and the other groups, go on "
            "learning. The cosine is the mean of a seventh of an epoch before and after; the accuracy that after the "
            "epoch before, after the epoch after, and at the end.", "",
            *markdown([*head, "accuracy before, %", "an epoch after, %", "end, %"], rows)]


def setting_text(experiment, parameters):
    """What sets a point of table f apart, in words."""
    run = {"parameters": parameters}
    words = [f"`{parameters['rule.name']}`"]
    layer = tables.setting(experiment, run, "network.layers")[0]
    if parameters["rule.name"] != "bp":
        start = tables.setting(experiment, run, "rule.groups.V.init", "random")
        lr, own = (tables.setting(experiment, run, f"optimizer.{path}") for path in ("lr", "groups.V.lr"))
        words.append(f"laterals from the {start}" if start == "identity" else "random laterals")
        if own is not None:
            words.append(f"{lr / own:.0f} times slower")
        if "descending_units" in layer:
            words.append(f"{layer['descending_units']} descending neurons a layer, no gate")
        for group, scale in ((g, tables.setting(experiment, run, f"rule.groups.{g}.scale")) for g in "WB"):
            if scale is not None:
                words.append(f"{group} from {scale:g} of its spread")
    return ", ".join(words)


def assembled(result, _):
    experiment = result["experiments"][0]
    rows = []
    for parameters, runs in groups(experiment):
        run = {"parameters": parameters}
        lr, decay = (tables.setting(experiment, run, path) for path in tables.RATES)
        rows.append([setting_text(experiment, parameters), f"{lr:g}", f"{decay:g}", count(runs),
                     with_interval(point_of(experiment, parameters)),
                     *difference(point_of(experiment, parameters)), cosines(runs)])
    epochs = experiment["definition"]["training"]["epochs"]
    return [f"Hidden layers {network_text(experiment)}, {epochs} epochs. The settings were found on the test part of "
            "seed 1, so that their accuracies, not their cosines, are those of a choice. The cosine by layer is the mean "
            "over the last quarter of an epoch.", "",
            *markdown(["setting", "lr", "decay", "n", "test accuracy, %", "less bp, points", "p (Holm)",
                       "cosine by layer"], rows)]


SECTIONS = {"a": tuned, "b": self_assembly, "c": depth, "d": tuned, "e": lesion, "f": assembled}
CAPTIONS = {
    "a": "Test accuracy by rule: every seed, and the mean with its 95 % interval.",
    "b": "Cosine of SAL's modulation with the gradient over the run: lines are means, bands the range over seeds.",
    "c": "Test accuracy by depth, and SAL's cosine in each layer at the end of training, for every depth.",
    "d": "Test accuracy by rule: every seed, and the mean with its 95 % interval.",
    "f": "Cosine of the modulation with the gradient over the run: lines are means, bands the range over seeds.",
    "e": "Cosine before and after the lesion (dotted line): lines are means, bands the range over seeds.",
}
