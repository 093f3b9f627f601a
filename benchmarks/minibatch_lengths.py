"""How long minibatch runs must be: rule 9 of docs/evidence.md on seed 0, which is not reported.

    python benchmarks/minibatch_lengths.py config/minibatch.yaml

For each optimizer and batch size of the sweeps: level, and trend over the last third with its standard error, if the
run ended at 600, 1,200 and 2,400 steps. The length to take is the shortest at which every batch size is settled.
"""

import sys
from pathlib import Path

import numpy as np

from rodflow.analysis.comparison import last_quarter
from rodflow.analysis.minibatches import Trend, trend
from rodflow.config.experiment import Settings
from rodflow.config.reading import load
from rodflow.config.settings import resolve
from rodflow.problem import labelled
from rodflow.stages.run import prepare
from rodflow.stages.sharpness import Search, along
from rodflow.stages.training import train

LENGTHS = (600, 1200, 2400)


def trends(settings: Settings, images: Settings) -> dict[int, tuple[float, Trend]]:
    """Length -> level and trend of a run on minibatches."""
    chosen = settings | {"seed": 0, "steps": LENGTHS[-1], "snapshots": {"every": 10}}
    run = prepare(labelled.load(images), chosen)
    data = next(train([run]))
    found = along(run.optimizer.loss, run.known, run.hyperparameters, data, Search(1, 1e-2))
    ratio = found["sharpness_over_threshold"]
    ends = {steps: ratio.sel(snapshot=slice(None, steps)) for steps in LENGTHS}
    return {
        steps: (float(last_quarter(values, steps).mean()), trend(values, steps))
        for steps, values in ends.items()
    }


def main(config: Path) -> None:
    experiment = resolve(load(config))
    seen: set[tuple[str, int]] = set()
    for run in experiment.all_runs:
        size = run.settings["batch_size"]
        if size is None or (run.optimizer, size) in seen:
            continue
        seen.add((run.optimizer, size))
        words = []
        for steps, (level, found) in trends(run.settings, experiment.dataset).items():
            mark = "settled" if found.settled else "not settled"
            change = (
                "none" if np.isnan(found.change) else f"{found.change:+.3f} ± {found.error:.3f}"
            )
            words.append(f"{steps}: {level:.3f}, {change}, {mark}")
        print(f"{run.optimizer:>12} {size:>5}  {'; '.join(words)}", flush=True)


if __name__ == "__main__":
    main(Path(sys.argv[1]))
