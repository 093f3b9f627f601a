"""Audit stored results: integrity, numbers computed again, claims. Trains nothing, changes nothing.

Writes audit.json, and audit.md beside it. The exit status is 1 if a file is missing, altered or out
of date or a number does not come out again, with a line for each on standard error. A claim that
is not reproduced is a finding and no error.
"""

import argparse
import json
import os
import sys
from pathlib import Path

import stage

CORES = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--config", type=Path, default=Path("config.yaml"), help="the experiment")
    parser.add_argument(
        "--overrides", type=json.loads, default={}, help="its changed keys, as JSON"
    )
    parser.add_argument("--root", type=Path, help="default: results/<name in the config>")
    parser.add_argument("--output", type=Path, help="default: audit.json in the root")
    return parser.parse_args()


def main() -> None:
    from rodflow.audit.audit import audit
    from rodflow.audit.report import summary, write
    from rodflow.config.overrides import changed
    from rodflow.config.settings import load, resolve

    stage.stay_on_the_cpu()
    args = arguments()
    experiment = resolve(changed(load(args.config), args.overrides))
    root = args.root or Path("results") / experiment.name
    output = args.output or root / "audit.json"
    report = audit(root, experiment, workers=CORES)
    print(summary(report))
    for problem in report.problems:
        print(f"{root}/{problem.path}: {problem.what}", file=sys.stderr)
    if report.consequences:
        words = f"{len(report.consequences)} more that follow from these"
        print(f"{words}: see {output.with_suffix('.md')}", file=sys.stderr)
    # Written last, so that what was found is said where nothing can be written.
    for path in write(report, output):
        print(f"note: {path} said something else than this audit: it is written again")
    print(f"details: {output.with_suffix('.md')}")
    if report.problems:
        sys.exit(1)


stage.run(main, cores=CORES)
