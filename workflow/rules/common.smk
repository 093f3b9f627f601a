# What all stages share: the resolved experiment, paths, and how a script is called.

import fcntl
import os
import re

# Seen from the working directory, so that a clone that is moved has nothing to run again.
HERE = Path(os.path.relpath(workflow.basedir))
SCRIPTS = HERE / "workflow/scripts"
LIBRARY = HERE / "src/rodflow"


def experiment_from_config():
    """Check the config before any job exists; a bad one stops here with one line."""
    files = workflow.config_settings.configfiles or [Path(workflow.basedir) / "config.yaml"]
    if len(files) > 1:
        sys.exit("config: give one --configfile; an experiment is one file")
    try:
        settings = load(files[0])
        settings.update(workflow.config_settings.config)
        return resolve(settings)
    except ConfigError as error:
        sys.exit(f"config: {error}")


def lock_folder():
    """One call at a time in a folder. The system frees the lock when the call ends or is killed."""
    global LOCK
    LOCK = open(".snakemake/rodflow.lock", "w")
    try:
        fcntl.flock(LOCK, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        sys.exit("another call of snakemake is running in this folder")


sys.path.append(str(SCRIPTS.resolve()))
import warm


onstart:
    lock_folder()
    warm.start()


EXPERIMENT = experiment_from_config()
ROOT = f"results/{EXPERIMENT.name}"
RUN = ROOT + "/{run}"


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
    """A function from wildcards to the run's files of a kind: trajectory, sharpness, twins, ..."""
    return lambda wildcards: [
        f"{ROOT}/{path}"
        for path, (found, _) in layout.run_files(EXPERIMENT.run(wildcards.run), EXPERIMENT).items()
        if found == kind
    ]


def of_all_runs(*kinds):
    """The files of these kinds of all runs."""
    return [
        f"{ROOT}/{path}"
        for run in EXPERIMENT.all_runs
        for path, (kind, _) in layout.run_files(run, EXPERIMENT).items()
        if kind in kinds
    ]


def code(script, *modules):
    """The script of a stage and the modules that decide its numbers: a change runs the stage again."""
    return [str(SCRIPTS / script), *(str(LIBRARY / module) for module in modules)]


MAP_CODE = [
    "stages.py",
    "objective.py",
    "models.py",
    "optimizers.py",
    "stability.py",
    "dynamics/optimizer_map.py",
    "dynamics/process.py",
]
CENTRAL_CODE = ["complementarity.py", "eigensolver.py", "dynamics/central_flow.py"]
FLOW_CODE = {
    "stable": ["dynamics/stable_flow.py"],
    "rod": ["dynamics/lifted.py", "dynamics/rod_flow.py"],
    "rod_unit_step": ["dynamics/lifted.py", "dynamics/rod_flow.py", "dynamics/rod_unit_step.py"],
    "closure": ["dynamics/lifted.py", "dynamics/rod_flow.py", "dynamics/covariance_closure.py"],
    "central": CENTRAL_CODE,
    "central_unregularised": CENTRAL_CODE,
    "edge": ["dynamics/lifted.py", "eigensolver.py", "dynamics/edge_flow.py"],
    "adam_continuous": ["dynamics/stable_flow.py", "dynamics/adam_continuous.py"],
}
