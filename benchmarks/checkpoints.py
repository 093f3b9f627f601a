"""What checkpoints cost a job and save it: the table of docs/scaling.md, "What checkpoints cost and save".

    python benchmarks/checkpoints.py

A job is imitated that keeps 100 snapshots of its weights and a state of three optimizer states of three leaves, which
is what a discrete run of Adam carries. It saves once before its end and is then resumed by a new process, so to speak.
The memory is that of a process of its own for each row, with and without a scratch folder.
"""

import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np

from rodflow.store.checkpoint import PAUSE, SHARE, Checkpoint, Scratch

PARAMETERS = (3_466, 85_002, 866_500)
SNAPSHOTS, LEAVES = 100, 9


def job(checkpoint: Checkpoint, parameters: int, snapshots: int = SNAPSHOTS) -> None:
    """Append the snapshots of a run, each other than the one before."""
    weights = np.random.default_rng(0).normal(size=parameters).astype(np.float32)
    for number in range(snapshots):
        checkpoint.append("snapshot.0", (weights + number)[None])


def measured(parameters: int) -> list[str]:
    """Seconds of a save of everything, of one that follows a snapshot later, and of resuming; bytes on the disk."""
    state = [np.ones(parameters, np.float32)] * LEAVES
    with tempfile.TemporaryDirectory() as folder:
        scratch = Scratch(Path(folder, "scratch"), lambda: "key")
        checkpoint = Checkpoint(scratch, "run")
        job(checkpoint, parameters)
        times = []
        for _ in range(2):
            began = time.perf_counter()
            checkpoint.save(state)
            times.append(time.perf_counter() - began)
            job(checkpoint, parameters, 1)
        size = sum(path.stat().st_size for path in scratch.folder.rglob("*") if path.is_file())
        scratch.release()
        began = time.perf_counter()
        assert Checkpoint(scratch, "run").resume() is not None
        times.append(time.perf_counter() - began)
    peaks = [peak(parameters, kept) for kept in ("memory", "disk")]
    return [
        f"{parameters:,}",
        *(f"{1000 * seconds:.0f}" for seconds in times),
        f"{size / 2**20:.0f}",
        *(f"{one:.0f}" for one in peaks),
    ]


def peak(parameters: int, kept: str) -> float:
    """MiB that the rows of a job cost a process at its largest."""
    command = [sys.executable, __file__, kept, str(parameters)]
    return float(subprocess.run(command, check=True, capture_output=True, text=True).stdout)


def largest() -> float:
    """MiB that this process was at its largest; what getrusage says includes its parent's before it began."""
    for line in Path("/proc/self/status").read_text().splitlines():
        if line.startswith("VmHWM:"):
            return int(line.split()[1]) / 2**10
    raise OSError("the kernel says nothing of VmHWM")


def used(kept: str, parameters: int) -> float:
    """MiB that this process grows by while it is a job whose rows are kept in memory or on the disk."""
    before = largest()
    with tempfile.TemporaryDirectory() as folder:
        scratch = Scratch(Path(folder, "scratch"), lambda: "key") if kept == "disk" else None
        checkpoint = Checkpoint(scratch, "run")
        job(checkpoint, parameters)
        checkpoint.column("snapshot.0")
    return largest() - before


def main() -> None:
    heads = (
        *("parameters", "first save, ms", "next save, ms", "resuming, ms", "on disk, MiB"),
        *("rows in memory, MiB", "with a scratch folder, MiB"),
    )
    print(f"| {' | '.join(heads)} |\n{'|---' * len(heads)}|")
    for parameters in PARAMETERS:
        print(f"| {' | '.join(measured(parameters))} |")
    print(f"\nA save every {PAUSE:g} s, and never more than 1/{SHARE} of the time.")


if __name__ == "__main__":
    if len(sys.argv) > 1:
        print(used(sys.argv[1], int(sys.argv[2])))
    else:
        main()
