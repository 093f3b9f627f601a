# What all stages share: the resolved experiment, paths, and how a script is called.

import fcntl
import os
import re
import time

# Seen from the working directory, so that a clone that is moved has nothing to run again.
HERE = Path(os.path.relpath(workflow.basedir))
SCRIPTS = HERE / "workflow/scripts"


def experiment_from_config():
    """Check the config before any job exists; a bad one stops here with one line."""
    files = workflow.config_settings.configfiles or [Path(workflow.basedir) / "config.yaml"]
    if len(files) > 1:
        sys.exit("config: give one --configfile; an experiment is one file")
    try:
        return resolve(changed(load(files[0]), workflow.config_settings.config))
    except RodflowError as error:
        sys.exit(f"config: {error}")


def lock_folder():
    """One call at a time in a folder. The system frees the lock when the call ends or is killed.

    The jobs' own calls of Snakemake on the nodes of a cluster have no hooks, and so take no lock.
    """
    global LOCK
    LOCK = open(".snakemake/rodflow.lock", "w")
    try:
        fcntl.flock(LOCK, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        sys.exit("another call of snakemake is running in this folder")
    except OSError as error:  # such as Lustre mounted without flock
        print(f"warning: this file system has no locks ({error.strerror}): call snakemake once at a time", file=sys.stderr)


def try_to_write():
    """A results folder that cannot be written stops the call in one line, before a job has run."""
    from rodflow.store.files import ArtifactError, write_bytes

    probe = Path(ROOT, f".probe{os.getpid()}")
    try:
        write_bytes(probe, bytes(4096))
        probe.unlink()
    except ArtifactError as error:
        _, what, remedy = error.args
        sys.exit(f"error: {ROOT}: {what}; {remedy}")


def refuse_what_was_altered():
    """A file that is not the one that the manifest lists, nor one that a job wrote since, stops the call by its name."""
    from rodflow.store.manifest import REMEDY, altered

    if problems := altered(ROOT):
        lines = [f"error: {ROOT}/{problem}" for problem in problems[:10]]
        more = [f"error: and {len(problems) - 10} more"] if len(problems) > 10 else []
        sys.exit("\n".join([*lines, *more, f"error: {REMEDY.format(root=ROOT)}"]))


def date_back(*folders):
    """Date files of the future now: they would be newer than what is made from them, at every call.

    They are left by a clock that was ahead. A difference of a minute is none: a file server's clock.
    """
    now = time.time()
    files = [path for folder in folders for path in Path(folder).rglob("*") if path.is_file()]
    ahead = [path for path in files if path.stat().st_mtime > now + 60]
    for path in ahead:
        os.utime(path, (now, now))
    if ahead:
        print(f"note: dated now, for the clock was ahead: {ahead[0]} and {len(ahead) - 1} more", file=sys.stderr)


sys.path.append(str(SCRIPTS.resolve()))
import warm

from rodflow.config.catalogue import DATASETS, FIGURES as FIGURE_KINDS, FLOWS, MODELS, OPTIMIZERS
from rodflow.config.code import digest
from rodflow.config.overrides import changed


onstart:
    lock_folder()
    try_to_write()
    refuse_what_was_altered()
    if workflow.local_exec:  # a job of a cluster must not run outside its allotment
        warm.start()


EXPERIMENT = experiment_from_config()
ROOT = f"results/{EXPERIMENT.name}"
RUN = ROOT + "/{run}"
date_back(ROOT)


def any_of(runs):
    """A pattern for the wildcard `run` that takes these runs only."""
    return "|".join(re.escape(run.path) for run in runs)


wildcard_constraints:
    run=any_of(EXPERIMENT.all_runs),
    # Without any flow nothing matches.
    flow="|".join(dict.fromkeys(flow for run in EXPERIMENT.all_runs for flow in run.flows)) or "(?!)",


def run_settings(wildcards):
    """The resolved settings of one run as JSON: when one changes, what depends on it runs again."""
    return json.dumps(EXPERIMENT.run(wildcards.run).settings, sort_keys=True)


def of_run(kind):
    """A function from wildcards to the run's files of a kind: trajectory, sharpness, replicas, ..."""
    return lambda wildcards: [
        f"{ROOT}/{path}"
        for path, (found, _) in plan.run_files(EXPERIMENT.run(wildcards.run), EXPERIMENT).items()
        if found == kind
    ]


def of_all_runs(*kinds):
    """The files of these kinds of all runs."""
    return [
        f"{ROOT}/{path}"
        for run in EXPERIMENT.all_runs
        for path, (kind, _) in plan.run_files(run, EXPERIMENT).items()
        if kind in kinds
    ]


def job(mem_mb, runtime, gpu=None):
    """What a job of a cluster is given: memory, twice as much at each new attempt; minutes; and devices, if not the
    profile's default. A file's `peak_memory_mib` says what was needed.
    """
    resources = {"mem_mb": lambda wildcards, attempt: mem_mb * 2 ** (attempt - 1), "runtime": runtime}
    return resources | ({} if gpu is None else {"gpu": gpu})


DEVICES = EXPERIMENT.compute["devices"]
COMPUTING = job(2000, 240, gpu=DEVICES if DEVICES > 1 else None)
READING = job(1000, 30, gpu=0)


def code_of(stage, *runs, flows=(), others=()):
    """The digest of the code that decides what a stage gives: of its module, and of what these runs name."""
    chosen = [
        kind.module(name)
        for run in runs
        for kind, name in (
            (OPTIMIZERS, run.settings["optimizer"]["name"]),
            (MODELS, run.settings["model"]["kind"]),
        )
    ]
    return digest(stage, *chosen, *(FLOWS.module(flow) for flow in flows), *others)


def code_of_run(stage, flows=None, others=()):
    """A function from wildcards to the digest of a stage of that run; of the flow that the wildcards name, if any."""
    return lambda wildcards: code_of(
        stage, EXPERIMENT.run(wildcards.run), flows=[wildcards.flow] if "flow" in wildcards.keys() else (), others=others
    )
