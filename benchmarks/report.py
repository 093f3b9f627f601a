"""The tables of docs/benchmarks.md from what `make bench` measured.

    python benchmarks/report.py results/benchmarks.json --output docs/benchmarks.md

A section of which nothing was measured is left out. No date and no name of a machine: the same numbers give the same
file.
"""

import argparse
import json
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

Measurement = dict[str, Any]

STEP_TARGETS = {"rod_unit_step": 5.0, "rod": 10.0}
"""Times the discrete run's step, at most."""

ERROR_TARGETS = {"gd": 100.0, "rmsprop": 30.0, "adam": 6.0}
"""By how much the last error of the rod flow is to be below the stable flow's, at least."""

MEAN_ERROR_TARGETS = {("gd", "rod"): 5e-4, ("gd", "rod_unit_step"): 2e-4}
"""Mean tracking error, at most."""

LARGE_TARGET = 0.6
"""Of the machine's peak, at least, for the gradient of a large MLP."""

START_TARGET, NOTHING_TARGET = 2.0, 10.0
"""Seconds that a stage without work, and a call of the workflow without work, may take."""


def report(measured: dict[str, Any]) -> str:
    """The whole file.

    Args:
        measured: what pytest-benchmark stored, as read from its JSON.
    """
    groups: dict[str, list[Measurement]] = {}
    for one in measured["benchmarks"]:
        # The fastest round: what else the machine does can only add to it.
        found = one["extra_info"] | {"fastest": one["stats"]["min"]}
        groups.setdefault(one["group"], []).append(found)
    sections = {
        "gradients": gradients,
        "large gradients": large_gradients,
        "steps": lambda rows: steps(rows, groups.get("gradients", [])),
        "stages": stages,
        "sharpness": sharpness,
        "compilation": compilation,
        "start": start,
        "workflow": workflow,
    }
    parts = [head(measured["machine_info"])]
    parts += [section(groups[name]) for name, section in sections.items() if name in groups]
    return "\n\n".join([*parts, GROWTH]) + "\n"


def head(machine: dict[str, Any]) -> str:
    """What it is, where it was measured, with which versions."""
    versions = {"Python": machine["python_version"]} | machine["packages"]
    memory = f", {machine['memory'] / 2**30:.0f} GiB" if "memory" in machine else ""
    name = machine["cpu"].get("brand_raw") or machine["machine"]
    return f"""# Benchmarks

Made by `make bench`, in one run on one machine. Processes are measured in one process on one core with one thread, as
jobs of the workflow run. Of several rounds the fastest counts, and a ratio is one of fastest rounds that took turns,
so that what else the machine does meets both sides. Compilation is left out where it is not the subject.

* machine: {name}, {machine["cores"]} cores{memory}, {machine["system"]} {machine["machine"]}
* versions: {", ".join(f"{name} {version}" for name, version in versions.items())}
* runs: those of `config.yaml`, half-way through, where they are at the edge of stability"""


def gradients(rows: Sequence[Measurement]) -> str:
    """Derivatives of the loss against the machine's peak."""
    peak = max(row["matrix_product_flops"] / row["beside"]["matrix product"] for row in rows)
    side = rows[0]["matrix_product_side"]
    lines = []
    for row in rows:
        each = row["fastest"] / row["count"]
        work = [f"{row['flops'] / 1e6:.1f}", *speed(row)[0]] if row["flops"] else ["", "", ""]
        over = row["fastest"] / row["beside"]["gradient"]
        size = [row["model"], row["parameters"], row["samples"], row["kind"]]
        lines.append([*size, f"{1e6 * each:.0f}", f"{over:.2f}", *work])
    heads = (
        "model, parameters, samples, derivative, µs, over a gradient, MFLOP, GFLOP/s, of the peak"
    )
    return f"""## A gradient
Loss and gradient of all samples, many in a row; products with the Hessian, linearised once; third derivatives along two
directions. FLOP are those that XLA counts in the compiled gradient (`cost_analysis`), transcendental functions left
out. The peak is that of a float32 product of two {side} x {side} matrices by JAX on the same core:
{peak / 1e9:.0f} GFLOP/s.

{table(heads, lines)}"""


def speed(row: Measurement) -> tuple[list[str], float]:
    """GFLOP/s of a gradient and its share of the machine's peak, in words, and that share."""
    rate = row["flops"] * row["count"] / row["fastest"]
    share = rate * row["beside"]["matrix product"] / row["matrix_product_flops"]
    return [f"{rate / 1e9:.1f}", f"{share:.0%}"], share


def large_gradients(rows: Sequence[Measurement]) -> str:
    """Gradients at the size of CIFAR-10 against the machine's peak."""
    lines, best = [], {}
    for row in rows:
        each = row["fastest"] / row["count"]
        words, share = speed(row)
        best[row["model"]] = max(share, best.get(row["model"], 0.0))
        lines.append(
            [
                *(row["model"], row["parameters"], row["at_once"] or "all", f"{1e3 * each:.1f}"),
                *(f"{row['flops'] / 1e6:.0f}", *words),
            ]
        )
    heads = "model, parameters, samples at once, ms, MFLOP, GFLOP/s, of the peak"
    verdict = "met" if best.get("mlp", 0.0) >= LARGE_TARGET else "**missed**"
    return f"""## A gradient at the size of CIFAR-10
1,000 inputs of 32 x 32 x 3: MLP [64, 64], CNN [16, 32], ViT of width 32, depth 2, patch 8. FLOP are those of the
gradient of all samples at once, also where a chunk computes its activations a second time. At least
{LARGE_TARGET:.0%} of the peak for the MLP: {verdict}.

{table(heads, lines)}

The MLP is limited by the two products of its first layer. The convolutional network moves nine shifted copies of every
image to one product, so that memory limits it, and fewer samples at once help; the transformer's tokens are products
of few rows, with softmax, norms and GELU between them."""


def steps(rows: Sequence[Measurement], derivatives: Sequence[Measurement]) -> str:
    """What a step of each process costs."""
    cost = {
        (row["model"], row["kind"]): row["fastest"] / row["beside"]["gradient"]
        for row in derivatives
    }
    lines = []
    kept: dict[str, list[bool]] = {process: [] for process in STEP_TARGETS}
    for row in rows:
        each = row["fastest"] / row["steps"]
        over = row["fastest"] / row["beside"]["discrete"]
        gradient = row["beside"]["gradient"] / row["steps"]
        verdict = ""
        if target := STEP_TARGETS.get(row["process"]):
            kept[row["process"]].append(over <= target)
            verdict = f"{'met' if over <= target else '**missed**'}: {target:.0f}"
        others = sum(
            row[name] * cost.get((row["model"], kind), float("nan"))
            for name, kind in (
                ("hessian_products", "Hessian product"),
                ("third_derivatives", "third derivative"),
            )
            if row[name]
        )
        lines.append(
            [
                *(row["model"], row["optimizer"], row["process"]),
                *(f"{1e3 * each:.3f}", f"{over:.1f}", verdict, f"{row['gradients']:.1f}"),
                number(row["hessian_products"]),
                number(row["third_derivatives"]),
                f"{1e6 * each / row['gradients']:.0f}",
                f"{row['gradients'] * gradient / each:.0%}",
                f"{others * gradient / each:.0%}" if others else "",
            ]
        )
    heads = (
        "model, optimizer, process, ms, over discrete, target, gradients, Hessian products,"
        " third derivatives, µs a gradient, share in gradients, share in the others"
    )
    words = "; ".join(
        f"`{process}`, at most {STEP_TARGETS[process]:.0f} times the discrete run's: "
        f"{sum(found)} of {len(found)} rows"
        for process, found in kept.items()
        if found
    )
    return f"""## A step
Counts are those of a step as the processes report them, their mean over the steps measured. Shares are the time that as
many bare derivatives take in a row (above), over the step's; more than 100% is possible, where a process
evaluates two at a time. The row of the discrete run against itself shows how far a ratio can be trusted.

{table(heads, lines)}

Targets of a step: {words}."""


def stages(rows: Sequence[Measurement]) -> str:
    """Accuracy and memory of whole stages."""
    own = {(row["optimizer"], row["process"]): row for row in rows}
    lines = []
    for row in rows:
        discrete = own.get((row["optimizer"], "discrete"))
        stable = own.get((row["optimizer"], "stable"))
        below, verdicts = "", []
        if row["process"] in STEP_TARGETS and stable:
            ratio, wanted = (
                stable["error_last"] / row["error_last"],
                ERROR_TARGETS[row["optimizer"]],
            )
            below = f"{ratio:.0f}"
            verdicts.append((ratio >= wanted, f">= {wanted:.0f}"))
        if most := MEAN_ERROR_TARGETS.get((row["optimizer"], row["process"])):
            verdicts.append((row["error_mean"] <= most, f"mean <= {power(most)}"))
        ode = own.get((row["optimizer"], "rod"))
        if row["process"] == "rod_unit_step" and ode:
            verdicts.append((row["error_mean"] <= ode["error_mean"], "mean <= ODE's"))
        errors = [power(row.get("error_mean")), power(row.get("error_last")), below]
        words = ", ".join(f"{'met' if met else '**missed**'}: {what}" for met, what in verdicts)
        step = row["step_time"]
        lines.append(
            [
                *(row["optimizer"], row["process"], *errors, words),
                f"{1e3 * step:.3f}",
                f"{step / discrete['step_time']:.1f}" if discrete else "",
                f"{row['gradients']:.1f}",
                *(f"{row['seconds']:.1f}", f"{row['memory']:.0f}"),
                f"{row['memory'] / discrete['memory']:.2f}" if discrete else "",
            ]
        )
    heads = (
        "optimizer, process, mean error, last error, stable's last over it, targets, ms a step, over discrete,"
        " gradients a step, stage in s, peak MiB, over discrete"
    )
    return f"""## Accuracy, cost and memory of whole runs
Stages of the MLP as the workflow calls them, each a process of its own: the tracking error (its geometric mean, and
that at the last snapshot) stands beside what it costs. Time a step and gradients are those of the whole run, one stage
after the other; seconds and peak memory (resident) are those of the process, which begins with an empty cache of
compiled programs.

{table(heads, lines)}"""


def sharpness(rows: Sequence[Measurement]) -> str:
    """What the sharpness costs a snapshot."""
    lines = []
    for row in rows:
        each = row["fastest"] / row["snapshots"]
        step = row["beside"]["discrete"] / row["steps"]
        lines.append(
            [
                *(row["model"], row["optimizer"], f"{1e3 * each:.2f}"),
                *(f"{row['hessian_products']:.1f}", f"{each / step:.1f}"),
                f"{each / step / row['steps_a_snapshot']:.2f}",
            ]
        )
    chosen = rows[0]["sharpness"]
    heads = "model, optimizer, ms a snapshot, Hessian products, over a discrete step, over the run"
    return f"""## Sharpness
The {chosen["count"]} largest eigenvalues of the preconditioned Hessian and the largest of the Hessian, to a residual of
{chosen["tolerance"]:g}, at the last snapshots of the discrete run; the first search starts from random vectors, the
others from those before. The last column is over the discrete steps between two snapshots.

{table(heads, lines)}"""


def compilation(rows: Sequence[Measurement]) -> str:
    """Stages of few steps with an empty and a warm cache."""
    lines = [
        [
            *(row["optimizer"], row["process"]),
            *(f"{row[cache]['seconds']:.1f}" for cache in ("empty_cache", "warm_cache")),
            f"{row['empty_cache']['seconds'] - row['warm_cache']['seconds']:.1f}",
            f"{row['empty_cache']['processor'] - row['warm_cache']['processor']:.1f}",
            f"{row['cached'] / 2**10:.0f}",
        ]
        for row in rows
    ]
    heads = "optimizer, stage, empty cache s, warm cache s, difference s, of processor time s, cached KiB"
    return f"""## Compilation
Whole stages of the MLP that make two snapshots, with an empty cache of compiled programs, and again.

{table(heads, lines)}"""


def start(rows: Sequence[Measurement]) -> str:
    """Stages that do no work."""
    lines = [
        [
            *(row["what"], f"{row['seconds']:.2f}", f"{row['processor']:.2f}"),
            ""
            if row["what"].startswith("`")
            else "met"
            if row["seconds"] <= START_TARGET
            else "**missed**",
        ]
        for row in rows
    ]
    heads = f"what, s, processor time s, at most {START_TARGET:.0f} s"
    return f"""## Start-up
A stage that loads what it needs, does not find its inputs and ends: by itself, and as in the workflow, where a copy of
a warm process takes it over.

{table(heads, lines)}"""


def workflow(rows: Sequence[Measurement]) -> str:
    """Calls of the workflow that do no work."""
    (row,) = rows
    verdict = "met" if row["seconds"] <= NOTHING_TARGET else "**missed**"
    return f"""## Nothing to do
A call of Snakemake for the default experiment ({row["files"]} files) when everything is there takes
{row["seconds"]:.1f} s, {row["processor"]:.1f} s of processor time; at most {NOTHING_TARGET:.0f} s: {verdict}."""


GROWTH = """## Growth
How time and memory grow with parameters, samples and steps: `docs/scaling.md`."""


def number(value: float) -> str:
    """One digit after the point; nothing for nothing."""
    return f"{value:.1f}" if value else ""


def power(value: float | None) -> str:
    """Two digits, as 7.7e-5."""
    if value is None:
        return ""
    mantissa, exponent = f"{value:.1e}".split("e")
    return f"{mantissa}e{int(exponent)}"


def table(heads: str, lines: Iterable[Sequence[Any]]) -> str:
    """A table in Markdown; heads are separated by commas."""
    names = heads.split(", ")
    rows = [names, ["---"] * len(names), *lines]
    return "\n".join(f"| {' | '.join(map(str, row))} |" for row in rows)


def main() -> None:
    """Print the tables, and write them where that is asked for."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("measured", type=Path, help="the JSON file of pytest-benchmark")
    parser.add_argument("--output", type=Path)
    arguments = parser.parse_args()
    text = report(json.loads(arguments.measured.read_text()))
    if arguments.output:
        arguments.output.write_text(text)
    print(text)


if __name__ == "__main__":
    main()
