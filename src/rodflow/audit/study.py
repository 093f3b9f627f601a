"""The audit of a study's own folder: what `rodflow.study(..., folder=...)` wrote, without a config.

    report = audit_study("results/mine")

Every file is as it was written, where it was written; every comparison comes out again from its trajectories and its
sharpness. The loss is a function in somebody's program and is in no file, so that no eigenvector is checked: the
report says so of each.
"""

from pathlib import Path

from rodflow.analysis.comparison import compare
from rodflow.audit.audit import AuditError
from rodflow.audit.recompute import Recomputed, recompute
from rodflow.audit.report import Report
from rodflow.store import artifact
from rodflow.store.files import ArtifactError, Problem, listing, sha256
from rodflow.store.integrity import verify_tree
from rodflow.store.results import COMPLETED, DISCRETE, StoredRun

_UNCHECKED = "eigenvectors not checked: the loss of a study is in no file"


def audit_study(root: str | Path) -> Report:
    """Check the files of a folder of studies and recompute their comparisons.

    Args:
        root: the folder that the studies were given.

    Raises:
        AuditError: it holds no study.
    """
    root = Path(root)
    places = [place for place in listing(root) if place.endswith(".nc")]
    runs = [place.removesuffix(f"/{DISCRETE}.nc") for place in places if _is_discrete(place)]
    if not runs:
        raise AuditError(
            f"{root}: holds no study; give the folder of rodflow.study(..., folder=...), or a --config"
        )
    problems = verify_tree(root)
    faulty = {problem.path for problem in problems}
    recomputed, statuses = [], {}
    for run in runs:
        own = [place for place in places if place.startswith(f"{run}/")]
        if faulty & {*own}:
            continue  # named already; numbers of such files say nothing
        found = _compared_again(root, run)
        if isinstance(found, Problem):
            problems.append(found)
            continue
        recomputed.append(found)
        if found.fault:
            problems.append(Problem(found.artifact, found.fault))
        for place in own:
            with artifact.open_lazily(root / place) as data:
                if (status := str(data.attrs["status"])) != COMPLETED:
                    statuses[place] = status
    return Report(
        experiment=root.resolve().name,
        artifacts={place: sha256(root / place) for place in places if place not in faulty},
        recomputed=tuple(recomputed),
        judgements=(),
        problems=tuple(problems),
        consequences=tuple(Problem(p, _UNCHECKED) for p in places if "/sharpness/" in p),
        statuses=statuses,
    )


def _is_discrete(place: str) -> bool:
    return place.endswith(f"/{DISCRETE}.nc") and "/sharpness/" not in place


def _compared_again(root: Path, run: str) -> Recomputed | Problem:
    """The stored comparison of a run against a fresh one."""
    stored, path = StoredRun(root / run), f"{run}/comparison.nc"
    try:
        fresh = compare(
            {name: stored.trajectory(name) for name in stored.processes},
            {name: stored.sharpness(name) for name in stored.processes},
            start=stored.settings["start"],
            steps=stored.settings["steps"],
        )
        return recompute(stored.comparison, fresh, path)
    except ArtifactError as error:
        return Problem(path, f"cannot be recomputed: {error.what}: study it again")
    except Exception as error:  # whatever a forged file may cause
        return Problem(path, f"cannot be recomputed: {' '.join(str(error).split())}")
