# Everything runs inside .venv, which is made from a lock file; nothing has to be activated first.
#
#   PYTHON=python3.12                  the interpreter .venv is made with
#   REQUIREMENTS=requirements-cuda.txt the lock file .venv is made from
#   CONFIG=config/NAME.yaml            another experiment than config.yaml
#   CORES=4                            how many cores Snakemake may use; default: all
#   PROFILE=slurm                      another way to run than on this machine: workflow/profiles, docs/scaling.md
#   ARGS="..."                         further arguments for the program a target runs
#   A=results/digits B=/elsewhere/digits   two results folders to compare

PYTHON       ?= python3
REQUIREMENTS ?= requirements.txt
CONFIG       =
CORES        =
PROFILE      = default
REPORT       = results/report.html
BENCHMARKS   = results/benchmarks.json
ARGS         =
UV           ?= uv

# Jobs of a workflow call `python`, so .venv comes first in their PATH too. All ends with make, though that is killed
# (rodflow.cli.parents): a recipe's parent is make.
# The shell knows this folder's name, which may hold anything; a name in a recipe would be read as shell code. A name that
# is given, such as CONFIG, is quoted.
quoted    = '$(subst ','\'',$(1))'
IN_VENV   = PATH="$$PWD/.venv/bin:$$PATH"; RODFLOW_CALLER=$$PPID; export PATH RODFLOW_CALLER;
RODFLOW   = python -P -m rodflow.cli
# ARGS come first, for they may name targets: --configfile takes every word that follows it.
OPTIONS   = $(ARGS) --profile workflow/profiles/$(PROFILE) $(if $(CORES),--cores $(CORES)) \
            $(if $(CONFIG),--configfile $(call quoted,$(CONFIG)))
# `exec`, for make hands a SIGTERM on to the recipe's own process only.
# Snakemake answers some files that are no YAML with a traceback, so they do not reach it.
CHECKED   = $(IN_VENV) $(RODFLOW) check --quiet --workflow $(call quoted,$(or $(CONFIG),config.yaml)) &&
PIP       = .venv/bin/python -m pip --quiet --disable-pip-version-check
COMPILE   = $(UV) pip compile --quiet --universal --python-version 3.11 --fork-strategy fewest \
            --generate-hashes --no-emit-index-url --no-emit-find-links \
            --custom-compile-command "make lock" --extra workflow --extra dev --extra cluster
INSTALLED = .venv/installed

.DEFAULT_GOAL := help
.PHONY: help .venv reproduce smoke everything choose figures audit compare report tidy test test-slow lint docs gallery \
        bench lock clean clean-results

help: ## this list
	@echo 'usage: make TARGET [CONFIG=...] [CORES=...] [ARGS="..."]'
	@awk -F ':.*## ' '/^[.a-z-]+:.*## / { printf "  %-14s %s\n", $$1, $$2 }' Makefile

# The file $(INSTALLED) says what .venv was made from. It is written last, so an installation that
# failed or was interrupted is taken up again, and one that is complete is left alone.
.venv: ## create the environment, from the locked packages
	@set -e; \
	wanted="$$PWD $(REQUIREMENTS) $$(cat "$(REQUIREMENTS)" pyproject.toml | cksum)"; \
	supported='import sys; sys.exit(sys.version_info < (3, 11))'; \
	if [ "$$(cat $(INSTALLED) 2>/dev/null)" = "$$wanted" ] && .venv/bin/python -c "$$supported"; then \
	    $(if $(filter .venv,$(MAKECMDGOALS)),echo ".venv is up to date";) exit 0; \
	fi; \
	rm -f $(INSTALLED); \
	if ! { grep -qF "$$PWD/.venv" .venv/bin/activate \
	       && .venv/bin/python -c "import pip; $$supported"; } 2>/dev/null; then \
	    if ! $(PYTHON) -c "$$supported" 2>/dev/null; then \
	        echo "rodflow needs Python >= 3.11, but $(PYTHON) is" \
	            "$$($(PYTHON) --version 2>/dev/null || echo not to be found);" \
	            "name another one: make .venv PYTHON=python3.12" >&2; \
	        exit 1; \
	    fi; \
	    echo "creating .venv with $$($(PYTHON) --version)"; \
	    if $(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 14))'; then \
	        echo "note: some locked packages have no wheels for Python > 3.13 and have to compile"; \
	    fi; \
	    $(PYTHON) -m venv --clear .venv; \
	fi; \
	echo "installing the packages locked in $(REQUIREMENTS) (a minute or two)"; \
	$(PIP) install --require-hashes -r "$(REQUIREMENTS)"; \
	echo "installing rodflow, editable"; \
	$(PIP) install --no-deps --no-build-isolation -e .; \
	echo "$$wanted" > $(INSTALLED); \
	echo ".venv is ready"

reproduce: .venv ## run the whole workflow, to the last figure and the audit
	@$(CHECKED) exec snakemake $(OPTIONS)

smoke: CONFIG = config/smoke.yaml
smoke: reproduce ## the same on an experiment of a few seconds

everything: .venv ## run every experiment whose data is at hand, to one index of audits and figures
	@$(IN_VENV) exec $(RODFLOW) everything --profile workflow/profiles/$(PROFILE) $(if $(CORES),--cores $(CORES)) $(ARGS)

choose: .venv ## choose the learning rates that a config leaves to the rule of docs/evidence.md
	@$(IN_VENV) exec $(RODFLOW) choose $(call quoted,$(or $(CONFIG),config.yaml)) $(ARGS)

figures: .venv ## bring the figures up to date
	@$(CHECKED) exec snakemake figures $(OPTIONS)

audit: .venv ## recompute every number and claim from stored files, without training
	@$(IN_VENV) exec $(RODFLOW) audit $(if $(CONFIG),--config $(call quoted,$(CONFIG))) $(ARGS)

compare: .venv ## compare two results folders: make compare A=results/digits B=/elsewhere/digits
	@$(if $(and $(A),$(B)),,echo 'usage: make compare A=results/digits B=/elsewhere/digits' >&2; exit 1;) \
	$(IN_VENV) $(RODFLOW) compare $(call quoted,$(A)) $(call quoted,$(B))

report: .venv ## write the HTML report of a finished run to results/report.html
	@$(IN_VENV) exec snakemake --report $(call quoted,$(REPORT)) $(OPTIONS)

tidy: .venv ## list files that no run or figure of the config has; ARGS=--delete deletes them
	@$(IN_VENV) $(RODFLOW) tidy $(if $(CONFIG),--config $(call quoted,$(CONFIG))) $(ARGS)

test: .venv ## run the tests
	@$(IN_VENV) pytest -n 2 --dist loadfile --no-loadscope-reorder -q $(ARGS)

test-slow: .venv ## run the tests that take minutes
	@$(IN_VENV) pytest -n 2 --dist loadfile --no-loadscope-reorder -q -m slow $(ARGS)

lint: .venv ## check style, format and types
	@$(IN_VENV) set -e; ruff check .; ruff format --check .; snakefmt --check Snakefile workflow; mypy

docs: .venv ## build the documentation site into site/, its examples executed
	@$(IN_VENV) NO_MKDOCS_2_WARNING=1 mkdocs build --strict --quiet && echo "open site/index.html"

gallery: reproduce ## bring a run up to date, copy its small results to docs/gallery, write the pages that quote them
	@$(IN_VENV) set -e; $(RODFLOW) gallery $(if $(CONFIG),--config $(call quoted,$(CONFIG))); $(RODFLOW) results

# A part of the suite (ARGS="-k steps") is printed only.
bench: .venv ## measure cost and accuracy, as reported in docs/benchmarks.md
	@$(IN_VENV) set -e; pytest benchmarks -q --benchmark-json=$(call quoted,$(BENCHMARKS)) $(ARGS); \
	python benchmarks/report.py $(call quoted,$(BENCHMARKS)) $(if $(ARGS),,--output docs/benchmarks.md)

lock: ## lock the packages again after a change of pyproject.toml (ARGS=--upgrade: take newer ones)
	@PATH="$$PATH:$(CURDIR)/.venv/bin"; export PATH; set -e; \
	command -v $(UV) >/dev/null || { echo "make lock needs uv: python -m pip install uv" >&2; exit 1; }; \
	$(COMPILE) $(ARGS) -o requirements.txt pyproject.toml; \
	$(COMPILE) $(ARGS) --extra cuda -c requirements.txt -o requirements-cuda.txt pyproject.toml

clean: ## remove caches; .venv and results stay
	rm -rf build site .pytest_cache .mypy_cache .ruff_cache .hypothesis
	find . \( -name .venv -o -name .git -o -name .snakemake -o -name results \) -prune -o \
	    -name __pycache__ -type d -prune -exec rm -rf {} +

clean-results: ## remove everything a run produced
	find results -mindepth 1 -maxdepth 1 ! -name README.md -exec rm -rf {} +
	rm -rf .snakemake
