#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""Measures the training core against the machine's limit and against its peers.

    bench.py --build build [--quick]     what `make bench` and `make bench-quick` run
    bench.py ... --only grid,threads     some sections only

Every row alternates its programs (A B C A B C ...), so that a machine that slows down slows all of them; a figure is
the median over the rounds, with the least and the greatest beside it, and a ratio is taken round by round. Each
program measures itself for a second or two (core.c, blas.c, torch_mlp.py) and prints JSON. Writes BUILD/bench.json
and prints the tables in Markdown; progress goes to standard error.
"""
import argparse
import concurrent.futures
import datetime
import json
import os
import platform
import re
import shutil
import statistics
import subprocess
import sys
import time

HERE = os.path.dirname(os.path.abspath(__file__))
SECTIONS = ["networks", "threads", "telemetry", "instructions", "grid"]
NETWORKS = [([784, 256, 256, 10], 64), ([784, 1024, 1024, 10], 128), ([3072, 1024, 1024, 1024, 10], 128)]
SMALL = NETWORKS[0]
# PyTorch frees its gradients at every step. Left to itself, glibc gives their memory back to the system every time,
# which can make PyTorch three times slower on wide layers; the comparison is with PyTorch at its best.
KEEP_MEMORY = {"MALLOC_MMAP_THRESHOLD_": str(1 << 30), "MALLOC_TRIM_THRESHOLD_": str(1 << 32)}
BUSY = 0.97  # a run in one thread that got less of a processor's time was disturbed


class Mode:
    """How much is measured."""

    def __init__(self, quick):
        self.name = "quick" if quick else "full"
        self.rounds = 3 if quick else 7
        self.seconds = 0.4 if quick else 1.4
        self.telemetry = [SMALL] if quick else NETWORKS[:2]
        self.grid_seconds = 0.25 if quick else 0.5
        self.cell_limit = 3.0 if quick else 9.0  # seconds: a cell that would take longer is left out
        self.widths = [64, 256, 1024] if quick else [64, 128, 256, 512, 1024, 2048, 4096]
        self.depths = [2, 8] if quick else [2, 4, 8, 16]
        self.batches = [1, 32, 128] if quick else [1, 8, 32, 128, 1024]


# ---- running programs ----


def environment(threads, **extra):
    """Ours, without what would slow OpenBLAS or choose other kernels."""
    env = {k: v for k, v in os.environ.items() if not re.match("OPENBLAS_|OMP_|GOTO_|MKL_|TETRAD_", k)}
    env.update(OMP_NUM_THREADS=str(threads), OPENBLAS_NUM_THREADS=str(threads), **extra)
    return env


class Programs:
    """The programs at hand; says what is missing, and keeps a note of every run that was disturbed."""

    def __init__(self, build):
        folder = os.path.join(build, "tests", "bench")
        self.core = [os.path.join(folder, "core")]
        self.blas = [os.path.join(folder, "blas")]
        self.torch = [sys.executable, os.path.join(HERE, "torch_mlp.py")]
        self.missing = {}
        self.runs = self.disturbed = 0
        if not os.path.exists(self.blas[0]):
            self.drop("blas", "OpenBLAS", "was not there when the bench was built (package libopenblas-dev)")
        found = subprocess.run([sys.executable, "-c", "import torch"], env=environment(1), capture_output=True)
        if found.returncode != 0:
            self.drop("torch", "PyTorch", f"cannot be imported by {sys.executable} (package python3-torch)")

    def drop(self, name, title, why):
        self.missing[name] = f"{title} {why}: its columns are empty"
        say(f"MISSING PEER: {self.missing[name]}")

    def start(self, program, *arguments, threads=1):
        extra = KEEP_MEMORY if program is self.torch else {}
        return subprocess.Popen([*program, *map(str, arguments)], env=environment(threads, **extra), text=True,
                                stdout=subprocess.PIPE, stderr=subprocess.PIPE)

    def finish(self, process):
        out, err = process.communicate()
        if process.returncode != 0:
            raise SystemExit(f"bench: {' '.join(process.args)}: exit {process.returncode}\n{err}")
        result = json.loads(out)
        self.runs += 1
        self.disturbed += result["threads"] == 1 and result["busy"] < BUSY
        return result

    def run(self, program, *arguments, threads=1):
        return self.finish(self.start(program, *arguments, threads=threads))


def network_options(network, mode, **more):
    widths, batch = network
    options = {"widths": ",".join(map(str, widths)), "batch": batch, "seconds": mode.seconds, **more}
    return [part for name, value in options.items() for part in ("--" + name, value)]


def alternate(mode, title, members):
    """Runs every member once a round; returns {member: [result of each round]}."""
    results = {name: [] for name in members}
    for i in range(mode.rounds):
        say(f"{title}: round {i + 1} of {mode.rounds}")
        for name, run in members.items():
            results[name].append(run())
    return results


# ---- figures ----


def summary(values):
    return {"median": statistics.median(values), "min": min(values), "max": max(values), "values": values}


def rates(results):
    return summary([r["samples_per_s"] for r in results]) if results else None


def ratios(above, below, field="samples_per_s"):
    return summary([a[field] / b[field] for a, b in zip(above, below)]) if above and below else None


def say(text):
    print(f"[{time.strftime('%H:%M:%S')}] {text}", file=sys.stderr, flush=True)


# ---- the sections ----


def measure_networks(programs, mode):
    """Rule bp against the peers, and sal against bp and the limit."""
    rows = []
    for network in NETWORKS:
        options = network_options(network, mode)
        members = {
            "bp": lambda: programs.run(programs.core, "run", "--rule", "bp", *options),
            "torch": lambda: programs.run(programs.torch, *options),
            "blas": lambda: programs.run(programs.blas, *options),
            "sal": lambda: programs.run(programs.core, "run", "--rule", "sal", *options),
        }
        members = {name: run for name, run in members.items() if name not in programs.missing}
        r = alternate(mode, network_name(network), members)
        flops = r["sal"][0]["flop_per_sample"] / r["bp"][0]["flop_per_sample"]
        times = ratios(r["sal"], r["bp"], "seconds_per_step")
        rows.append({
            "widths": network[0], "batch": network[1],
            "rates": {name: rates(results) for name, results in r.items()},
            "shares": {name: summary([x["share"] for x in r[name]]) for name in ("bp", "sal")},
            "bp_over_torch": ratios(r["bp"], r.get("torch")),
            "bp_over_blas": ratios(r["bp"], r.get("blas")),
            "sal_time_over_bp": times,
            "sal_flops_over_bp": flops,
            "sal_excess": summary([t / flops for t in times["values"]]),
            "runs": r})
    return rows


def measure_threads(programs, mode):
    """Two threads in one run, also with a core taken away, and two runs at once; against one thread."""
    one_thread = network_options(SMALL, mode)
    two_threads = network_options(SMALL, mode, threads=2)

    def at_once():
        both = [programs.start(programs.core, "run", *one_thread) for _ in range(2)]
        both = [programs.finish(process) for process in both]
        return {"samples_per_s": sum(r["samples_per_s"] for r in both), "runs": both}

    def beside_a_busy_core():
        hog = subprocess.Popen([sys.executable, "-c", "while True: pass"])
        os.sched_setaffinity(hog.pid, {max(os.sched_getaffinity(0))})
        try:
            return programs.run(programs.core, "run", *two_threads)
        finally:
            hog.kill()
            hog.wait()

    r = alternate(mode, "threads", {
        "one": lambda: programs.run(programs.core, "run", *one_thread),
        "two_threads": lambda: programs.run(programs.core, "run", *two_threads),
        "two_runs": at_once,
        "two_threads_busy_core": beside_a_busy_core,
    })
    return {"widths": SMALL[0], "batch": SMALL[1], "rates": {name: rates(results) for name, results in r.items()},
            "over_one": {name: ratios(r[name], r["one"]) for name in r if name != "one"}, "runs": r}


def measure_telemetry(programs, mode):
    """What recording alignment every 100 steps costs: a record's time, taken every 20, over that of 100 steps."""
    rows = []
    for network in mode.telemetry:
        for rule in ("bp", "sal"):
            options = network_options(network, mode, rule=rule, record=20)
            r = alternate(mode, f"telemetry, {rule} {network_name(network)}", {
                rule: lambda: programs.run(programs.core, "run", *options)})[rule]
            rows.append({"widths": network[0], "batch": network[1], "rule": rule,
                         "record_seconds": summary([x["record_seconds"] for x in r]),
                         "cost": summary([x["record_seconds"] / (100 * x["plain_step_seconds"]) for x in r]),
                         "runs": r})
    return rows


def measure_instructions(programs, mode):
    """Instructions of one step: of a run of two steps less those of a run of one. Valgrind is slow at FMA."""
    del mode
    if shutil.which("valgrind") is None:
        programs.missing["valgrind"] = "valgrind is not installed: no instruction counts"
        say(programs.missing["valgrind"])
        return None
    isa = {"TETRAD_ISA": "avx2"} if platform.machine() == "x86_64" else {}  # Valgrind has no AVX-512

    def count(rule, steps):
        options = ["--widths", ",".join(map(str, SMALL[0])), "--batch", SMALL[1], "--examples", 10 * SMALL[1]]
        command = ["valgrind", "--tool=callgrind", "--callgrind-out-file=/dev/null", *programs.core, "run",
                   "--rule", rule, "--steps", steps, *options]
        done = subprocess.run([str(part) for part in command], env=environment(1, **isa), capture_output=True,
                              text=True)
        found = re.search(r"Collected : (\d+)", done.stderr)
        return int(found.group(1)) if done.returncode == 0 and found else None

    say("instruction counts")
    with concurrent.futures.ThreadPoolExecutor(os.cpu_count()) as pool:  # a count does not mind company
        jobs = {(rule, steps): pool.submit(count, rule, steps) for steps in (2, 1) for rule in ("sal", "bp")}
        counts = {key: job.result() for key, job in jobs.items()}
    if None in counts.values():
        programs.missing["valgrind"] = "valgrind failed: no instruction counts"
        return None
    return {"widths": SMALL[0], "batch": SMALL[1], "isa": isa.get("TETRAD_ISA", "default"),
            "per_step": {rule: counts[rule, 2] - counts[rule, 1] for rule in ("bp", "sal")}}


def cell_cost(width, depth, batch, mode):
    """An estimate: seconds to draw the weights, and of five steps at 150 GFLOP/s or 25 GB/s, whichever is slower."""
    weights = width * width * (depth - 1) + 10 * width
    step = max(6.0 * weights * batch / 150e9, 24.0 * weights / 25e9)
    return 0.4 + 25e-9 * weights + max(1.2 * mode.grid_seconds, 6 * step)


def measure_grid(programs, mode):
    """Time per step and share of the limit over width, depth and batch, rule bp: so that cliffs show."""
    with open("/proc/meminfo") as file:
        available = 1024 * int(re.search(r"MemAvailable:\s+(\d+)", file.read()).group(1))
    cells = []
    for width in mode.widths:
        for depth in mode.depths:
            say(f"grid: width {width}, depth {depth}")
            for batch in mode.batches:
                cell = {"width": width, "depth": depth, "batch": batch}
                memory = 8 * width * width * depth + 16 * width * depth * batch
                if cell_cost(width, depth, batch, mode) > mode.cell_limit or memory > available / 2:
                    cells.append({**cell, "left_out": True})
                    continue
                options = network_options(([width] * depth + [10], batch), mode)
                r = programs.run(programs.core, "run", *options, "--windows", 3, "--seconds", mode.grid_seconds)
                cells.append({**cell, "seconds_per_step": r["seconds_per_step"], "share": r["share"],
                              "gflops": r["gflops"], "busy": r["busy"]})
    return cells


# ---- the machine ----


def first_line(command):
    try:
        return subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip().split("\n")[0]
    except (OSError, subprocess.CalledProcessError):
        return ""


def cpu_field(name):
    with open("/proc/cpuinfo") as file:
        found = re.search(rf"^{name}\s*:\s*(.*)$", file.read(), re.M)
    return found.group(1) if found else ""


def caches():
    """", L2 1024K, L3 32768K", or "" where the system does not say."""
    text = ""
    for index in range(8):
        folder = f"/sys/devices/system/cpu/cpu0/cache/index{index}"
        try:
            with open(folder + "/level") as level, open(folder + "/size") as size:
                level, size = level.read().strip(), size.read().strip()
        except OSError:
            break
        text += f", L{level} {size}" if level in ("2", "3") else ""
    return text


def cores_in_use():
    """How many cores others use, over a second in which we sleep."""
    def ticks():
        with open("/proc/stat") as file:
            values = [int(value) for value in file.readline().split()[1:9]]
        idle = values[3] + values[4]
        return sum(values) - idle, sum(values)

    busy, total = ticks()
    time.sleep(1.0)
    busy_then, total_then = ticks()
    return os.cpu_count() * (busy_then - busy) / max(1, total_then - total)


def describe_machine(programs):
    in_use = cores_in_use()
    limits = {threads: json.loads(subprocess.run([*programs.core, "limit", "--threads", str(threads)], text=True,
                                                 env=environment(threads), stdout=subprocess.PIPE,
                                                 check=True).stdout) for threads in (1, 2)}
    family, model = cpu_field("cpu family"), cpu_field("model")
    return {
        "date": datetime.datetime.now().astimezone().isoformat(timespec="seconds"),
        "processor": cpu_field("model name") or platform.machine(),
        "family": f"family {family} model {model}" if family else platform.machine(),
        "cores": os.cpu_count(), "caches": caches(), "kernel": platform.release(),
        "compiler": first_line([os.environ.get("CC", "cc"), "--version"]),
        "revision": first_line(["git", "-C", HERE, "describe", "--always", "--dirty"]),
        "isa": limits[1]["isa"], "limit": {str(n): limit["gflops"] for n, limit in limits.items()},
        "cores_in_use": round(in_use, 2)}


# ---- tables ----


def network_name(network):
    return "-".join(map(str, network[0])) + f" b{network[1]}"


def row_name(row):
    return network_name((row["widths"], row["batch"]))


def thousands(value):
    return f"{value / 1000:.1f}k" if value >= 1000 else f"{value:.0f}"


def percent(value):
    return f"{100 * value:.1f} %"


def times(value):
    return f"{value:.2f}"


def spread(figure, form):
    if figure is None:
        return "missing"
    return f"{form(figure['median'])} ({form(figure['min'])} - {form(figure['max'])})"


def duration(seconds):
    for unit, size in (("s", 1.0), ("ms", 1e-3), ("us", 1e-6)):
        if abs(seconds) >= size:
            break
    return f"{seconds / size:.3g} {unit}"


def table(title, head, rows):
    lines = [f"### {title}", "", "| " + " | ".join(head) + " |", "|---" * len(head) + "|"]
    return "\n".join(lines + ["| " + " | ".join(row) + " |" for row in rows]) + "\n"


def network_tables(rows):
    yield table("Backpropagation with momentum, one thread, samples/s: median (least - greatest)",
                ["network", "Tetrad", "share of the FMA limit", "PyTorch", "C on OpenBLAS", "Tetrad / PyTorch",
                 "Tetrad / OpenBLAS"],
                [[row_name(r), spread(r["rates"]["bp"], thousands), spread(r["shares"]["bp"], percent),
                  spread(r["rates"].get("torch"), thousands), spread(r["rates"].get("blas"), thousands),
                  spread(r["bp_over_torch"], times), spread(r["bp_over_blas"], times)] for r in rows])
    yield table("SAL, one thread; its FLOPs are its own",
                ["network", "samples/s", "share of the FMA limit", "time of a step / bp's", "FLOPs / bp's",
                 "time ratio / FLOP ratio"],
                [[row_name(r), spread(r["rates"]["sal"], thousands), spread(r["shares"]["sal"], percent),
                  spread(r["sal_time_over_bp"], times), times(r["sal_flops_over_bp"]),
                  spread(r["sal_excess"], times)] for r in rows])


def thread_table(r):
    titles = {"one": "one thread", "two_threads": "two threads in one run", "two_runs": "two runs at once, together",
              "two_threads_busy_core": "two threads, one core taken by another program"}
    return table(f"Threads, bp {row_name(r)}", ["", "samples/s", "/ one thread"],
                 [[titles[name], spread(rate, thousands), spread(r["over_one"][name], times) if name != "one" else ""]
                  for name, rate in r["rates"].items()])


def telemetry_table(rows):
    return table("Alignment recorded every 100 steps", ["network", "rule", "one record", "share of the run's time"],
                 [[row_name(r), r["rule"], spread(r["record_seconds"], duration), spread(r["cost"], percent)]
                  for r in rows])


def instruction_table(r):
    return table(f"Instructions of a step, {row_name(r)}, {r['isa']} kernels", ["rule", "instructions"],
                 [[rule, f"{n:,}"] for rule, n in r["per_step"].items()])


def grid_table(cells):
    batches = sorted({c["batch"] for c in cells})
    at = {(c["width"], c["depth"], c["batch"]): c for c in cells}

    def text(cell):
        if "left_out" in cell:
            return "-"
        return f"{duration(cell['seconds_per_step'])}, {100 * cell['share']:.0f} %"

    rows = [[str(width), str(depth), *(text(at[width, depth, batch]) for batch in batches)]
            for width, depth in dict.fromkeys((c["width"], c["depth"]) for c in cells)]
    low = [f"{c['width']} x {c['depth']} b{c['batch']} ({100 * c['share']:.0f} %)" for c in cells
           if c["width"] >= 128 and c["batch"] >= 32 and c.get("share", 1.0) < 0.5]
    notes = ["Inputs and hidden layers of the width, 10 outputs; depth: layers of weights. -: would take too long.",
             "Below half of the limit at widths from 128 and batches from 32: " + (", ".join(low) or "none") + "."]
    return table("Time of a step and share of the FMA limit, bp, one thread",
                 ["width", "depth", *(f"batch {batch}" for batch in batches)], rows) + "\n" + "\n".join(notes) + "\n"


def report(result):
    """The whole result in Markdown, part by part."""
    m = result["machine"]
    yield (f"## Benchmark ({result['mode']}), {m['date'][:10]}\n\n"
           f"{m['processor']}, {m['family']}, {m['cores']} cores{m['caches']}; {m['compiler']}; "
           f"revision {m['revision'] or 'unknown'}.\n"
           f"Kernels {m['isa']}; FMA limit {m['limit']['1']:.0f} GFLOP/s on one core, {m['limit']['2']:.0f} on two. "
           f"Medians of {result['rounds']} alternating rounds.\n")
    if "torch" not in result["missing"] and "networks" in result:
        yield "PyTorch runs with an allocator that keeps its memory, and without OPENBLAS_CORETYPE.\n"
    yield from (f"**Warning: {warning}.**\n" for warning in result["warnings"])
    if "networks" in result:
        yield from network_tables(result["networks"])
    if "threads" in result:
        yield thread_table(result["threads"])
    if "telemetry" in result:
        yield telemetry_table(result["telemetry"])
    if result.get("instructions"):
        yield instruction_table(result["instructions"])
    if "grid" in result:
        yield grid_table(result["grid"])


def warnings_of(programs, result):
    warnings = list(programs.missing.values())
    if result["machine"]["cores_in_use"] > 0.1:
        warnings.append(f"others used {result['machine']['cores_in_use']:.2f} cores when the bench began: take no "
                        "figure from here")
    if programs.disturbed > 0:
        warnings.append(f"{programs.disturbed} of {programs.runs} runs got less than {100 * BUSY:.0f} % of their "
                        "processors' time")
    for row in result.get("networks", []):
        libraries = row["runs"].get("torch", [{}])[0].get("blas", [])
        if libraries and not any(re.search("openblas|mkl", library) for library in libraries):
            warnings.append("PyTorch used the reference BLAS, which is slow: the comparison is not fair")
            break
    return warnings


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--build", default="build")
    parser.add_argument("--quick", action="store_true")
    parser.add_argument("--only", default=",".join(SECTIONS), help="sections, with commas")
    options = parser.parse_args()
    mode, programs = Mode(options.quick), Programs(options.build)
    wanted = options.only.split(",")
    if set(wanted) - set(SECTIONS):
        parser.error(f"--only: the sections are {', '.join(SECTIONS)}")

    start = time.monotonic()
    result = {"mode": mode.name, "rounds": mode.rounds, "machine": describe_machine(programs)}
    for section in SECTIONS:
        if section in wanted:
            result[section] = globals()["measure_" + section](programs, mode)
    result["seconds"] = round(time.monotonic() - start, 1)
    result["missing"] = sorted(programs.missing)
    result["warnings"] = warnings_of(programs, result)

    path = os.path.join(options.build, "bench.json")
    with open(path, "w") as file:
        json.dump(result, file, indent=1)
    print("\n".join(report(result)))
    say(f"{result['seconds']:.0f} s; wrote {path}")


if __name__ == "__main__":
    main()
