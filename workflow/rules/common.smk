# What all stages share: the experiment, where its files are, and what happens before the first job. `python -P` takes no
# module from the working folder.

import json

from rodflow.cli.beginning import begin
from rodflow.cli.rules import Rules

EXPERIMENT = Rules.of_call(workflow.config_settings, CLONE)
ROOT = EXPERIMENT.root
RUN = f"{ROOT}/{{run}}"


wildcard_constraints:
    run=EXPERIMENT.pattern(),
    flow=EXPERIMENT.flow_pattern,


onstart:
    begin(Path(ROOT), local=workflow.local_exec)
