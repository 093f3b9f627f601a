# What all stages share: the resolved experiment, paths, and how a script is called.

import fcntl
import os

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


onstart:
    lock_folder()


EXPERIMENT = experiment_from_config()
ROOT = f"results/{EXPERIMENT.name}"
RUN = ROOT + "/{model}/{optimizer}/seed{seed}"
RUNS = [f"{ROOT}/{run.path}" for run in EXPERIMENT.runs]
PROCESSES = ["discrete", *EXPERIMENT.flows]


wildcard_constraints:
    model="|".join({run.model for run in EXPERIMENT.runs}),
    optimizer="|".join({run.optimizer for run in EXPERIMENT.runs}),
    seed=r"\d+",
    flow="|".join(EXPERIMENT.flows),
    process="|".join(PROCESSES),


def run_settings(wildcards):
    """The resolved settings of one run as JSON: when one changes, what depends on it runs again."""
    run = EXPERIMENT.run(wildcards.model, wildcards.optimizer, int(wildcards.seed))
    return json.dumps(run.settings, sort_keys=True)


def code(script, *modules):
    """The script of a stage and the modules that decide its numbers: a change runs the stage again."""
    return [str(SCRIPTS / script), *(str(LIBRARY / module) for module in modules)]


MAP_CODE = ["objective.py", "models.py", "optimizers.py", "dynamics/optimizer_map.py"]
FLOW_CODE = {
    "stable": ["dynamics/stable_flow.py"],
    "rod": ["dynamics/lifted.py", "dynamics/rod_flow.py"],
    "rod_unit_step": ["dynamics/lifted.py", "dynamics/rod_flow.py", "dynamics/rod_unit_step.py"],
}
