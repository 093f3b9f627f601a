"""Where the time of the default job goes: all of it with nothing compiled, and again with what the first left compiled.

    python benchmarks/default_job.py [--config config.yaml] [--cores 2] [--write]

A copy of this tree in a temporary folder is run from the data set to the audit, twice, on a machine that should do
nothing else. A job's seconds are those between Snakemake's lines, which have a resolution of one; what the second call
saves is compiling. `--write` puts the table into docs/scaling.md.
"""

import argparse
import re
import shutil
import sys
import tempfile
from collections import Counter
from collections.abc import Iterator
from datetime import datetime
from pathlib import Path
from typing import NamedTuple

from measuring import spent

REPOSITORY = Path(__file__).parents[1]
PAGE = REPOSITORY / "docs/scaling.md"
BEGIN, END = (
    "<!-- made by benchmarks/default_job.py -->",
    "<!-- end of benchmarks/default_job.py -->",
)
PARTS = (
    "src",
    "workflow",
    "config",
    "Snakefile",
    "config.yaml",
    "config.rates.csv",
    "pyproject.toml",
)
EVENT = re.compile(
    r"^\[(?P<time>\w{3} \w{3} [ \d]\d [\d:]{8} \d{4})\]\n"
    r"(?:Job (?P<began>\d+): |Finished jobid: (?P<ended>\d+) \(Rule: (?P<rule>\w+)\))",
    re.MULTILINE,
)


class Called(NamedTuple):
    """Minutes of a whole call; for each rule its jobs, and the seconds that they took."""

    minutes: float
    jobs: Counter[str]
    seconds: Counter[str]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--config", default="config.yaml")
    parser.add_argument("--cores", default="2")
    parser.add_argument("--write", action="store_true")
    args = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        tree = copy(Path(folder))
        calls = []
        for _ in range(2):
            shutil.rmtree(tree / "results", ignore_errors=True)
            calls.append(call(tree, args.config, args.cores))
    text = table(*calls)
    print(text)
    if args.write:
        before, _, rest = PAGE.read_text().partition(BEGIN)
        _, _, after = rest.partition(END)
        PAGE.write_text(f"{before}{BEGIN}\n{text}\n{END}{after}")


def copy(folder: Path) -> Path:
    """The tree without its history, its environment and its results."""
    for part in PARTS:
        source = REPOSITORY / part
        if source.is_dir():
            shutil.copytree(source, folder / part, ignore=shutil.ignore_patterns("__pycache__"))
        elif source.is_file():
            shutil.copy2(source, folder / part)
    return folder


def call(tree: Path, config: str, cores: str) -> Called:
    """Run all of the experiment that is missing."""
    command = [sys.executable, "-m", "snakemake", "--profile", "workflow/profiles/default"]
    command += ["--cores", cores, "--configfile", config]
    cache = tree / "cache"
    cache.mkdir(mode=0o700, exist_ok=True)
    done = spent(command, tree, PYTHONPATH=str(tree / "src"), RODFLOW_CACHE=str(cache))
    jobs, seconds = Counter[str](), Counter[str]()
    for rule, took in durations(done.said):
        jobs[rule] += 1
        seconds[rule] += took
    return Called(done.seconds / 60, jobs, seconds)


def durations(said: str) -> Iterator[tuple[str, float]]:
    """The rule and the seconds of each job of which Snakemake said when it began and ended."""
    began: dict[str, datetime] = {}
    for event in EVENT.finditer(said):
        at = datetime.strptime(event["time"], "%a %b %d %H:%M:%S %Y")
        if event["began"]:
            began[event["began"]] = at
        elif event["ended"] in began:
            yield event["rule"], (at - began[event["ended"]]).total_seconds()


def table(cold: Called, warm: Called) -> str:
    """A row a rule, the longest first, and the whole."""
    lines = [
        "| stage | jobs | seconds, nothing compiled | seconds, all compiled |",
        "| --- | --- | --- | --- |",
    ]
    lines += [
        f"| {rule} | {cold.jobs[rule]} | {seconds:.0f} | {warm.seconds[rule]:.0f} |"
        for rule, seconds in cold.seconds.most_common()
    ]
    whole = f"{cold.seconds.total():.0f} | {warm.seconds.total():.0f}"
    lines.append(f"| all jobs, which share the cores | {cold.jobs.total()} | {whole} |")
    lines.append(f"| **the call, minutes** | | **{cold.minutes:.1f}** | **{warm.minutes:.1f}** |")
    return "\n".join(lines)


if __name__ == "__main__":
    main()
