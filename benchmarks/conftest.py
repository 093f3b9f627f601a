"""The setting of all measurements: one thread on one core, as in a job of the workflow, and the runs of config.yaml."""

import importlib.metadata
import os
from collections.abc import Iterator

import pytest

from rodflow.cli import devices, environment, folders

environment.prepare()  # before JAX is loaded
folders.keep_programs()

PACKAGES = ("jax", "jaxlib", "flax", "optax", "diffrax", "numpy", "xarray", "snakemake")


@pytest.fixture(scope="session")
def free_core() -> set[int]:
    """A core that no job of the user has taken, kept from them until the end."""
    cores = os.sched_getaffinity(0)
    devices.take_a_core()
    mine = os.sched_getaffinity(0)
    os.sched_setaffinity(0, cores)
    return mine


@pytest.fixture
def one_core(request: pytest.FixtureRequest) -> Iterator[None]:
    """Keep this process to one core: moved between cores, work takes up to twice its time."""
    if not hasattr(os, "sched_setaffinity"):
        yield
        return
    cores = os.sched_getaffinity(0)
    os.sched_setaffinity(0, request.getfixturevalue("free_core"))
    yield
    os.sched_setaffinity(0, cores)


def pytest_benchmark_update_machine_info(config, machine_info):
    """What the numbers depend on, and not the machine's name."""
    machine_info.pop("node", None)
    machine_info["packages"] = {name: importlib.metadata.version(name) for name in PACKAGES}
    if hasattr(os, "sysconf"):
        machine_info["memory"] = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    machine_info["cores"] = os.cpu_count()
