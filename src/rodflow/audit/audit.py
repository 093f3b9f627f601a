"""The audit: are the files of an experiment intact, do its numbers come out again, what is shown.

    report = audit("results/digits", resolve(load("config.yaml")))
    write(report, "results/digits/audit.json")

Nothing is trained and nothing is repaired. Three questions are asked in turn:

* integrity: every file that the config asks for is there, as it was written, where it was written,
  made with the config's settings from the inputs that are there now, and in the manifest;
* recomputation: every comparison again from trajectories and sharpness, every figure's table again
  from the runs, and stored eigenvectors against stored weights (`rodflow.audit.curvature`);
* claims: what the stored numbers say about `rodflow.audit.claims.catalogue.CLAIMS`. A run with a faulty or
  outdated file says nothing.

The files may be somebody else's. Whatever is in them is named and ends nothing; no name leads out of the folder.

The report (`rodflow.audit.report`) depends on the files and the config only, so that two audits of
the same files agree in every byte. JAX is imported only for the eigenvectors.
"""

import functools
import os
from collections import defaultdict
from collections.abc import Iterable, Iterator
from pathlib import Path

import xarray as xr

from rodflow.audit.claims.catalogue import CLAIMS
from rodflow.audit.claims.claim import judge
from rodflow.audit.pool import Map, pool
from rodflow.audit.recompute import OutputSample, Recomputed, Sample, recompute_table
from rodflow.audit.report import Report
from rodflow.audit.runs import AGAIN, Found, check_run, lost_run
from rodflow.config import plan
from rodflow.config.catalogue import FIGURES
from rodflow.config.experiment import Experiment
from rodflow.config.plan import SUFFIXES, expected_files, run_files
from rodflow.errors import RodflowError
from rodflow.store import artifact
from rodflow.store.files import (
    ArtifactError,
    Problem,
    listing,
    place_fault,
    read_bytes,
    reason,
    sha256,
)
from rodflow.store.integrity import verify_tree
from rodflow.store.manifest import check_manifest, listed
from rodflow.store.results import StoredRun, drawn_from

_TABLE = 2**26  # bytes of the table of a figure


class AuditError(RodflowError, RuntimeError):
    """There is nothing to audit; one line with the remedy."""


def audit(
    root: str | Path, experiment: Experiment, workers: int = 1, *, own_code: bool = True
) -> Report:
    """Check the stored files of an experiment, recompute their numbers and judge the claims.

    Args:
        root: the results folder.
        experiment: what the folder should hold.
        workers: processes that check files and draw figures again, side by side.
        own_code: whether the config's own code is run where a Hessian needs it.

    Raises:
        AuditError: the folder holds no artifact.
    """
    root = Path(root)
    if not any(place.endswith(".nc") for place in listing(root)):
        raise AuditError(f"{root}: no results to audit; {AGAIN} first")
    _KNOWN.clear()
    auditor = _Auditor(root, experiment)
    with pool(workers) as each:
        auditor.check_files(each)
        auditor.check_runs(each)
        figures_drawn_again = auditor.draw_figures(each)  # by processes that know the runs
        auditor.check_dataset(own_code)
        auditor.check_figures(figures_drawn_again)
    runs = {run: _KNOWN[root / run.path] for run in experiment.all_runs}
    unsound = {
        run.path: fault for run in experiment.all_runs if (fault := auditor.fault_below(run.path))
    }
    drawn: dict[str, list[StoredRun]] = defaultdict(list)
    for figure in plan.figures(experiment):
        drawn[figure.name] += [runs[run] for run in figure.runs]
    main = [runs[run] for run in experiment.runs]
    return Report(
        experiment=experiment.name,
        artifacts=auditor.digests(),
        recomputed=tuple(sorted(auditor.found.recomputed, key=lambda one: one.artifact)),
        judgements=tuple(judge(main, CLAIMS, unsound, drawn, auditor.artifacts_of_no_run())),
        problems=_in_order(auditor.problems),
        consequences=_in_order(auditor.consequences),
        statuses=dict(sorted(auditor.found.statuses.items())),
    )


class _Auditor:
    """Collects what the parts of an audit find."""

    def __init__(self, root: Path, experiment: Experiment) -> None:
        self.root, self.experiment = root, experiment
        self.found = Found()
        self.consequences: list[Problem] = []

    @property
    def problems(self) -> list[Problem]:
        """What is wrong by itself."""
        return self.found.problems

    def fault_below(self, folder: str) -> str:
        """The first problem with a folder or a file in it, else what follows from one, else ""."""
        for problem in (*_in_order(self.problems), *_in_order(self.consequences)):
            if problem.path == folder or problem.path.startswith(f"{folder}/"):
                return str(problem)
        return ""

    def digests(self) -> dict[str, str]:
        """The SHA-256 of every file of the experiment that can be read."""
        found = {}
        for path in sorted(expected_files(self.experiment)):
            if not place_fault(self.root, path):
                try:
                    found[path] = sha256(self.root / path)
                except ArtifactError:
                    continue  # it is a problem already
        return found

    # Integrity

    def check_files(self, each: Map) -> None:
        """Everything that can be said of the files without recomputing their numbers."""
        expected = expected_files(self.experiment)
        faults = {path: fault for path in expected if (fault := place_fault(self.root, path))}
        gone = {path for path in faults if not os.path.lexists(self.root / path)}
        found = self._missing(gone)
        found += [Problem(path, faults[path]) for path in sorted(faults.keys() - gone)]
        found += [
            Problem(
                path,
                "belongs to no run or figure of the config: delete it, as rodflow tidy --delete does",
            )
            for path in sorted(self._stored() - expected)
        ]
        named = {problem.path for problem in found} | faults.keys()
        checked = verify_tree(self.root, functools.partial(each, lost=_lost_file))
        tree = [problem for problem in checked if problem.path not in named]
        named |= {problem.path for problem in tree if not problem.source}
        found += tree
        found += [p for p in check_manifest(self.root) if p.path not in named]
        causes = {problem.path for problem in found if not problem.source} | faults.keys()
        for problem in found:
            (self.consequences if problem.source in causes else self.problems).append(problem)

    def _missing(self, paths: set[str]) -> list[Problem]:
        """One line a file, or one for a run of which there is none."""
        problems = []
        for run in self.experiment.all_runs:
            if paths.issuperset(files := run_files(run, self.experiment)):
                problems.append(Problem(run.path, f"no file of this run: {AGAIN}"))
                paths = paths - files.keys()
        return problems + [Problem(path, f"missing: {AGAIN}") for path in sorted(paths)]

    def _stored(self) -> set[str]:
        endings = tuple(f".{suffix}" for suffix in ("nc", *SUFFIXES))
        return {path for path in listing(self.root) if listed(path) and path.endswith(endings)}

    # Recomputation

    def check_runs(self, each: Map) -> None:
        """Settings and comparison of every run, which is known then; its eigenvectors are looked at later."""
        faulty = frozenset(problem.path for problem in self.problems)
        check = functools.partial(
            check_run, root=self.root, experiment=self.experiment, faulty=faulty
        )
        lost = functools.partial(lost_run, root=self.root)
        runs = self.experiment.all_runs
        for run, (found, stored, complete) in zip(runs, each(check, runs, lost=lost), strict=True):
            self.found.join(found)
            _KNOWN[stored.folder] = stored
            if not complete:
                self._unchecked(f"{run.path}/comparison.nc", "not recomputed", run.path)
                outputs = f"{run.path}/outputs.nc"
                checked = {one.artifact for one in found.outputs}
                if plan.has_outputs(run, self.experiment) and outputs not in checked:
                    self._unchecked(outputs, "outputs not checked", run.path)

    def check_dataset(self, own_code: bool) -> None:
        """Settings of the data set, and with it the eigenvectors and the outputs of all runs."""
        from rodflow.audit import curvature, function_space  # import JAX

        settings = {k: v for k, v in self.experiment.dataset.items() if k != "archive"}
        faulty = frozenset(problem.path for problem in self.problems)
        dataset = self.found.read(self.root, "dataset.nc", "dataset", settings, faulty)
        of_eigenvectors, of_outputs = self.found.samples, self.found.outputs
        unchecked = {one.artifact: "eigenvectors not checked" for one in of_eigenvectors}
        unchecked |= {one.artifact: "outputs not checked" for one in of_outputs}
        if dataset is None:
            for path, what in unchecked.items():
                self._unchecked(path, what, "dataset.nc")
            return
        samples: list[Sample | OutputSample] = [*of_eigenvectors, *of_outputs]
        left = {one.artifact for one in samples if not own_code and "own" in one.settings}
        found = (
            *curvature.check(dataset, [s for s in of_eigenvectors if s.artifact not in left]),
            *function_space.check(dataset, [s for s in of_outputs if s.artifact not in left]),
        )
        for checked in found:
            self.found.add(checked)
        why = "the run uses code of the config's own, which was not run"
        self.consequences += [Problem(path, f"{unchecked[path]}: {why}") for path in sorted(left)]

    def draw_figures(self, each: Map) -> Iterator[tuple[plan.Figure, Recomputed | Problem]]:
        """The table of every figure, being drawn again from what it was drawn from, where that is sound so far."""
        stored = [
            figure
            for figure in plan.figures(self.experiment)
            if not place_fault(self.root, f"{figure.stem}.csv") and self._sound(figure)
        ]
        draw = functools.partial(_drawn_again, root=self.root)
        return zip(stored, each(draw, stored, lost=_lost_figure), strict=True)

    def check_figures(self, drawn: Iterable[tuple[plan.Figure, Recomputed | Problem]]) -> None:
        """What was found of them."""
        for figure, found in drawn:
            if not self._sound(figure):
                continue
            if isinstance(found, Problem):
                self.problems.append(found)
            else:
                self.found.add(found)

    def _sound(self, figure: plan.Figure) -> bool:
        """Whether nothing is wrong with what a figure is drawn from; else the figure is named as unchecked."""
        faulty = [place for place in figure.drawn_from if self.fault_below(place)]
        if faulty:
            self._unchecked(f"{figure.stem}.csv", "not drawn again", faulty[0])
        return not faulty

    def artifacts_of_no_run(self) -> dict[str, xr.Dataset | str]:
        """Those that the figures need, by name, or the problem with one."""
        names = {
            Path(path).stem
            for figure in plan.figures(self.experiment)
            if FIGURES[figure.name].of_no_run
            for path in figure.sources
        }
        return {
            name: self.fault_below(f"{name}.nc")
            or artifact.read(self.root / f"{name}.nc", kind=name)
            for name in sorted(names)
        }

    def _unchecked(self, path: str, what: str, cause: str) -> None:
        if not any(problem.path == path for problem in self.problems):
            self.consequences.append(Problem(path, f"{what}: {self.fault_below(cause)}"))


_KNOWN: dict[Path, StoredRun] = {}
"""Runs that were read, in this process or in the one that it is a copy of."""


def _drawn_again(figure: plan.Figure, root: Path) -> Recomputed | Problem:
    """The stored table of a figure against a fresh one."""
    path = f"{figure.stem}.csv"
    try:
        stored = read_bytes(root / path, _TABLE).decode()
    except (OSError, ValueError) as error:
        return Problem(path, f"cannot be read: {reason(error)}")
    try:
        source = drawn_from([root / place for place in figure.drawn_from], _KNOWN)
        table = FIGURES.load(figure.name).draw(source).table
        fresh = table.to_csv(index=False, lineterminator="\n")
    except Exception as error:  # whatever a forged file may cause
        return Problem(path, f"cannot be drawn again: {error}")
    for run in _KNOWN.values():
        run.release()
    return recompute_table(stored, fresh, path)


def _lost_file(place: str) -> list[Problem]:
    return [Problem(place, "ends the process that reads it: delete it and run again")]


def _lost_figure(figure: plan.Figure) -> Recomputed | Problem:
    words = "cannot be drawn again: the process that draws it ends"
    return Problem(f"{figure.stem}.csv", words)


def _in_order(problems: Iterable[Problem]) -> tuple[Problem, ...]:
    return tuple(sorted(set(problems), key=lambda problem: (problem.path, problem.what)))
