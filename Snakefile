# The chain of stages, from the data set to the last figure. `snakemake --list` names the targets,
# docs/architecture.md the files, workflow/rules/ has one file a stage.

import json
import sys
from pathlib import Path

from snakemake.utils import min_version

from rodflow.config import plan
from rodflow.config.settings import load, resolve
from rodflow.errors import RodflowError

min_version("9.0")

if not workflow.config_settings.configfiles:

    configfile: "config.yaml"


include: "workflow/rules/common.smk"
include: "workflow/rules/data.smk"
include: "workflow/rules/train.smk"
include: "workflow/rules/flow.smk"
include: "workflow/rules/sharpness.smk"
include: "workflow/rules/replay.smk"
include: "workflow/rules/comparison.smk"
include: "workflow/rules/toy.smk"
include: "workflow/rules/adam_region.smk"
include: "workflow/rules/figure.smk"
include: "workflow/rules/audit.smk"


report: "workflow/report/workflow.rst"


rule all:
    default_target: True
    input:
        rules.figures.input,
        rules.audit.output,
