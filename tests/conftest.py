"""What every test leaves as it found it."""

import os
import signal
import sys
import time
from collections.abc import Iterator
from hashlib import sha256
from pathlib import Path

import pytest

QUICK = (
    "--xla_cpu_multi_thread_eigen=false --xla_backend_optimization_level=0 --xla_cpu_use_fusion_emitters=false "
    "--xla_cpu_parallel_codegen_split_count=1"
)
"""How the quick suite compiles: its programs run for milliseconds, and to optimise them, or to split them for more
threads, takes most of its time. The long suite computes with the programs of a user's run."""
MAPS = Path("/proc/self/maps")
MANY = 20_000
"""Pieces of memory of one process. Linux ends a process at 65,530, and each compiled program keeps a few."""


BEGUN = time.monotonic()


def pytest_addoption(parser: pytest.Parser) -> None:
    """A budget for the long suite, whose length differs threefold between machines."""
    parser.addoption(
        "--minutes", type=float, help="skip, and count as skipped, what has not begun by then"
    )


def pytest_runtest_setup(item: pytest.Item) -> None:
    """Begin no test after the budget."""
    minutes = item.config.option.minutes
    if minutes is not None and time.monotonic() - BEGUN > 60 * minutes:
        pytest.skip(f"not begun within {minutes:g} minutes")


def pytest_configure(config: pytest.Config) -> None:
    """Choose how programs are compiled, before JAX is loaded; forget the make that called.

    What it was told, `ARGS="--minutes 20"` for one, would be told to every make that a test calls.
    """
    for name in ("MAKEFLAGS", "MFLAGS", "MAKELEVEL"):
        os.environ.pop(name, None)
    if config.option.markexpr == "not slow" and not os.environ.get("XLA_FLAGS"):
        os.environ["XLA_FLAGS"] = os.environ["RODFLOW_XLA_FLAGS"] = QUICK


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """The files that take longest first, so that no worker has to wait for them at the end.

    With a budget the files are in an order of the run's own, the same for all workers, so that each comes to its turn.
    """
    if config.option.minutes is None:
        items.sort(key=lambda item: "workflow" not in item.path.parts)
    else:
        run = getattr(config, "workerinput", {}).get("testrunuid", "")
        items.sort(key=lambda item: sha256(f"{run} {item.path}".encode()).hexdigest())


@pytest.fixture(autouse=True)
def environment_as_before() -> Iterator[None]:
    """A command that is called in this process prepares the environment for itself, not for the tests after it."""
    before = dict(os.environ)
    yield
    if dict(os.environ) != before:
        os.environ.clear()
        os.environ.update(before)


@pytest.fixture
def hearing() -> Iterator[None]:
    """What is called answers SIGINT, to which the tests may be deaf, as a script in the background is."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


@pytest.fixture(autouse=True, scope="module")
def few_compiled_programs() -> Iterator[None]:
    """Thousands of compiled programs in one process would end it, so they are dropped in time."""
    yield
    jax = sys.modules.get("jax")
    if jax and MAPS.exists() and MAPS.read_bytes().count(b"\n") > MANY:
        jax.clear_caches()
