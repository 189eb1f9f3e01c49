#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""Measures the training core against the machine's limit, its peers and its goals.

    bench.py --build build [--quick]           what `make bench` and `make bench-quick` run
    bench.py ... --only networks,threads       some sections only
    bench.py ... --networks LeNet              only networks whose name holds that

Every row alternates its programs (A B C A B C ...), so that a machine that slows down slows all of them; a figure is
the median over the rounds, with the least and the greatest beside it, and a ratio is taken round by round. Each
program measures itself for a second or two (core.c, blas.c, torch_peer.py) and prints JSON. A figure that has a goal
keeps it beside it, and is judged by its median. Writes BUILD/bench.json and prints it in Markdown (tables.py);
progress goes to standard error.
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
from typing import NamedTuple

import network
import tables

HERE = os.path.dirname(os.path.abspath(__file__))
SECTIONS = ["networks", "threads", "telemetry", "instructions", "grid"]


class Row(NamedTuple):
    """A network to measure, with its goals: rates over PyTorch's, shares of the limit."""
    name: str
    network: str
    batch: int
    over_torch: float = None
    bp_share: float = None
    sal_share: float = None
    sal_excess: float = None

    def options(self, mode, **more):
        options = {"network": self.network, "batch": self.batch, "seconds": mode.seconds, **more}
        return [part for name, value in options.items() for part in ("--" + name, value)]

    def described(self):
        return {"name": self.name, "network": self.network, "batch": self.batch}


DENSE = [Row("784-256-256-10 b64", "784,256,256,10", 64,
             over_torch=2.2, bp_share=0.92, sal_share=0.85, sal_excess=1.1),
         Row("784-1024-1024-10 b128", "784,1024,1024,10", 128,
             over_torch=1.9, bp_share=0.90, sal_share=0.85, sal_excess=1.1),
         Row("3072-1024x3-10 b128", "3072,1024,1024,1024,10", 128,
             over_torch=1.6, bp_share=0.85, sal_share=0.85, sal_excess=1.1)]
LENET = Row("LeNet-5 b64", "1x28x28, conv 6 5 pad 2, max 2, conv 16 5, max 2, 120, 84, 10", 64,
            over_torch=4.0, bp_share=0.60)
CIFAR = Row("CIFAR-conv b64",
            "3x32x32, conv 32 5 stride 2 pad 2, conv 64 3 stride 2 pad 1, conv 64 3 pad 1, 128, 10", 64)
SMALL = DENSE[0]
# PyTorch frees its gradients at every step. Left to itself, glibc gives their memory back to the system every time,
# which can make PyTorch three times slower on wide layers; the comparison is with PyTorch at its best.
KEEP_MEMORY = {"MALLOC_MMAP_THRESHOLD_": str(1 << 30), "MALLOC_TRIM_THRESHOLD_": str(1 << 32)}
BUSY = 0.97  # a run in one thread that got less of a processor's time was disturbed


class Mode:
    """How much is measured."""

    def __init__(self, quick):
        self.name = "quick" if quick else "full"
        self.rounds = 3 if quick else 7
        self.seconds = 0.3 if quick else 1.0
        self.networks = DENSE + [LENET] + ([] if quick else [CIFAR])
        self.telemetry = [SMALL] if quick else DENSE[:2] + [LENET]
        self.counted = [SMALL] if quick else [SMALL, LENET]
        self.grid_seconds = 0.2 if quick else 0.3
        self.cell_limit = 3.0 if quick else 60.0  # seconds: a cell that would take longer is left out
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
        self.torch = [sys.executable, os.path.join(HERE, "torch_peer.py")]
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


def judged(figure, what, at_least=None, at_most=None):
    """The figure with its goal beside it, where it has one."""
    if figure is None or at_least is None and at_most is None:
        return figure
    met = figure["median"] >= at_least if at_most is None else figure["median"] <= at_most
    return {**figure, "goal": {"what": what, "at_least": at_least, "at_most": at_most, "met": met}}


def say(text):
    print(f"[{time.strftime('%H:%M:%S')}] {text}", file=sys.stderr, flush=True)


# ---- the sections ----


def measure_networks(programs, mode):
    """Rule bp against the peers, and sal against bp and the limit."""
    rows = []
    for row in mode.networks:
        options, net = row.options(mode), network.read(row.network)
        members = {
            "bp": lambda: programs.run(programs.core, "run", "--rule", "bp", *options),
            "torch": lambda: programs.run(programs.torch, *options),
            "blas": lambda: programs.run(programs.blas, *options),
            "sal": lambda: programs.run(programs.core, "run", "--rule", "sal", *options),
        }
        left_out = {*programs.missing, *(["blas"] if net.convolutional else [])}
        members = {name: run for name, run in members.items() if name not in left_out}
        r = alternate(mode, row.name, members)
        for rule in ("bp", "sal"):
            check_flops(r[rule][0], net)
        flops = r["sal"][0]["flop_per_sample"] / r["bp"][0]["flop_per_sample"]
        times = ratios(r["sal"], r["bp"], "seconds_per_step")
        rows.append({
            **row.described(), "convolutional": net.convolutional,
            "rates": {name: rates(results) for name, results in r.items()},
            "shares": {rule: judged(summary([x["share"] for x in r[rule]]), f"{rule} {row.name}, share of the limit",
                                    at_least=goal)
                       for rule, goal in (("bp", row.bp_share), ("sal", row.sal_share))},
            "bp_over_torch": judged(ratios(r["bp"], r.get("torch")), f"bp {row.name}, rate over PyTorch's",
                                    at_least=row.over_torch),
            "bp_over_blas": ratios(r["bp"], r.get("blas")),
            "sal_time_over_bp": times,
            "sal_flops_over_bp": flops,
            "sal_excess": judged(summary([t / flops for t in times["values"]]),
                                 f"sal {row.name}, time over bp's by FLOPs over bp's", at_most=row.sal_excess),
            "memory": {rule: memory(row, net, r[rule][0]) for rule in ("bp", "sal")},
            "runs": r})
    return rows


def check_flops(result, net):
    """A share is worth nothing if what it is a share of is counted wrongly."""
    counted = network.flops(net, result["rule"])
    if abs(result["flop_per_sample"] / counted - 1.0) > 1e-6:
        raise SystemExit(f"bench: {result['rule']} \"{net.text}\": the core counts {result['flop_per_sample']:.0f} "
                         f"operations for an example, the bench {counted}")


def memory(row, net, result):
    """What the trainer takes beyond weights, velocities and activations once."""
    arrays = 4 * network.floats(net, result["rule"], row.batch)
    return {"arrays": arrays, "allocated": result["bytes"],
            "excess": judged(summary([result["bytes"] / arrays - 1.0]),
                             f"{result['rule']} {row.name}, memory beyond its arrays", at_most=0.10)}


def measure_threads(programs, mode):
    """Two threads in one run, also with a core taken away, and a run for every core at once; against one thread."""
    one_thread = SMALL.options(mode)
    two_threads = SMALL.options(mode, threads=2)
    cores = sorted(os.sched_getaffinity(0))

    def at_once():
        runs = [programs.start(programs.core, "run", *one_thread) for _ in cores]
        runs = [programs.finish(process) for process in runs]
        return {"samples_per_s": sum(r["samples_per_s"] for r in runs), "runs": runs}

    def beside_a_busy_core():
        hog = subprocess.Popen([sys.executable, "-c", "while True: pass"])
        os.sched_setaffinity(hog.pid, cores[-1:])
        try:
            return programs.run(programs.core, "run", *two_threads)
        finally:
            hog.kill()
            hog.wait()

    r = alternate(mode, "threads", {
        "one": lambda: programs.run(programs.core, "run", *one_thread),
        "two_threads": lambda: programs.run(programs.core, "run", *two_threads),
        "two_threads_busy_core": beside_a_busy_core,
        "runs_at_once": at_once,
    })
    goals = {"two_threads": ("two threads in one run, over one thread", 1.85),
             "two_threads_busy_core": ("two threads in one run beside a busy core, over one thread", 0.95),
             "runs_at_once": (f"{len(cores)} runs at once, over one run", 0.95 * len(cores))}
    return {**SMALL.described(), "runs_at_once": len(cores),
            "rates": {name: rates(results) for name, results in r.items()},
            "over_one": {name: judged(ratios(r[name], r["one"]), what, at_least=least)
                         for name, (what, least) in goals.items()},
            "runs": r}


def measure_telemetry(programs, mode):
    """What recording alignment every 100 steps costs: a record's time, taken every 20, over that of 100 steps."""
    rows = []
    for row in mode.telemetry:
        for rule in ("bp", "sal"):
            options = row.options(mode, rule=rule, record=20, windows=3)
            r = alternate(mode, f"telemetry, {rule} {row.name}", {
                rule: lambda: programs.run(programs.core, "run", *options)})[rule]
            cost = summary([x["record_seconds"] / (100 * x["plain_step_seconds"]) for x in r])
            rows.append({**row.described(), "rule": rule,
                         "record_seconds": summary([x["record_seconds"] for x in r]),
                         "cost": judged(cost, f"{rule} {row.name}, alignment every 100 steps", at_most=0.02),
                         "runs": r})
    return rows


def measure_instructions(programs, mode):
    """Instructions of one step: of a run of two steps less those of a run of one. Valgrind is slow at FMA."""
    if shutil.which("valgrind") is None:
        programs.missing["valgrind"] = "valgrind is not installed: no instruction counts"
        say(programs.missing["valgrind"])
        return None
    isa = {"TETRAD_ISA": "avx2"} if platform.machine() == "x86_64" else {}  # Valgrind has no AVX-512

    def count(row, rule, steps):
        options = row.options(mode, rule=rule, steps=steps, examples=10 * row.batch)
        command = ["valgrind", "--tool=callgrind", "--callgrind-out-file=/dev/null", *programs.core, "run", *options]
        done = subprocess.run([str(part) for part in command], env=environment(1, **isa), capture_output=True,
                              text=True)
        found = re.search(r"Collected : (\d+)", done.stderr)
        return int(found.group(1)) if done.returncode == 0 and found else None

    say("instruction counts")
    with concurrent.futures.ThreadPoolExecutor(os.cpu_count()) as pool:  # a count does not mind company
        jobs = {(row, rule, steps): pool.submit(count, row, rule, steps)
                for row in mode.counted for rule in ("sal", "bp") for steps in (2, 1)}
        counts = {key: job.result() for key, job in jobs.items()}
    if None in counts.values():
        programs.missing["valgrind"] = "valgrind failed: no instruction counts"
        return None
    return [{**row.described(), "rule": rule, "isa": isa.get("TETRAD_ISA", "default"),
             "per_step": counts[row, rule, 2] - counts[row, rule, 1]}
            for row in mode.counted for rule in ("bp", "sal")]


def step_cost(width, depth, batch, limit):
    """An estimate of a step's seconds: at 60 % of the limit or 15 GB/s, whichever is slower."""
    weights = width * width * (depth - 1) + 10 * width
    return max(6.0 * weights * batch / (0.6e9 * limit), 24.0 * weights / 15e9)


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
                step = step_cost(width, depth, batch, programs.limit)
                memory = 8 * width * width * depth + 16 * width * depth * batch
                if 2 * step > mode.cell_limit or memory > available / 2:
                    cells.append({**cell, "left_out": "time" if memory <= available / 2 else "memory"})
                    continue
                row = Row("", ",".join(map(str, [width] * depth + [10])), batch)
                r = programs.run(programs.core, "run", *row.options(mode), "--seconds", mode.grid_seconds,
                                 "--windows", 3 if step < 1.0 else 1, "--init", "identity")
                cells.append({**cell, "seconds_per_step": r["seconds_per_step"],
                              "seconds_per_step_min": batch / r["samples_per_s_max"],
                              "seconds_per_step_max": batch / r["samples_per_s_min"], "share": r["share"],
                              "gflops": r["gflops"], "limit": max(r["limit_before"], r["limit_after"]),
                              "windows": r["windows"], "busy": r["busy"]})
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


def warnings_of(programs, result):
    warnings = list(programs.missing.values())
    if result["machine"]["cores_in_use"] > 0.1:
        warnings.append(f"others used {result['machine']['cores_in_use']:.2f} cores when the bench began: take no "
                        "figure from here")
    if programs.disturbed > 0:
        warnings.append(f"{programs.disturbed} of {programs.runs} runs got less than {100 * BUSY:.0f} % of their "
                        "processors' time")
    peers = [row["runs"]["torch"][0] for row in result.get("networks", []) if "torch" in row["runs"]]
    if any(peer["blas"] and not re.search("openblas|mkl", " ".join(peer["blas"])) for peer in peers):
        warnings.append("PyTorch used the reference BLAS, which is slow: the comparison is not fair")
    if not all(peer["onednn"] for peer in peers):
        warnings.append("PyTorch has no oneDNN, without which its convolutions are slow: the comparison is not fair")
    return warnings


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--build", default="build")
    parser.add_argument("--quick", action="store_true")
    parser.add_argument("--only", default=",".join(SECTIONS), help="sections, with commas")
    parser.add_argument("--networks", default="", help="of the section networks, those whose name holds this")
    options = parser.parse_args()
    mode, programs = Mode(options.quick), Programs(options.build)
    mode.networks = [row for row in mode.networks if options.networks.lower() in row.name.lower()]
    wanted = options.only.split(",")
    if set(wanted) - set(SECTIONS):
        parser.error(f"--only: the sections are {', '.join(SECTIONS)}")

    start = time.monotonic()
    result = {"mode": mode.name, "rounds": mode.rounds, "machine": describe_machine(programs)}
    programs.limit = result["machine"]["limit"]["1"]
    for section in SECTIONS:
        if section in wanted:
            result[section] = globals()["measure_" + section](programs, mode)
    result["seconds"] = round(time.monotonic() - start, 1)
    result["missing"] = sorted(programs.missing)
    result["warnings"] = warnings_of(programs, result)

    path = os.path.join(options.build, "bench.json")
    with open(path, "w") as file:
        json.dump(result, file, indent=1)
    print(tables.markdown(result))
    say(f"{result['seconds']:.0f} s; wrote {path}")


if __name__ == "__main__":
    main()
