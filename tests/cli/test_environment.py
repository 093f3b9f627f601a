"""What a job takes of its environment, what it overrides and what it refuses: a variable each."""

import json
import os
import subprocess
import sys

import pytest

from rodflow.cli import environment
from rodflow.cli.environment import EnvironmentRefused, prepare, recorded

THREAD = "--xla_cpu_multi_thread_eigen=false"
GONE = None


@pytest.mark.parametrize(
    ("name", "users", "holds"),
    [
        ("MPLBACKEND", "module://matplotlib_inline.backend_inline", "agg"),
        ("JAX_ENABLE_X64", "1", GONE),
        ("JAX_DEBUG_NANS", "True", GONE),
        ("JAX_DISABLE_JIT", "1", GONE),
        ("JAX_DEFAULT_MATMUL_PRECISION", "bfloat16", GONE),
        ("JAX_DEFAULT_PRNG_IMPL", "rbg", GONE),
        ("JAX_PLATFORMS", "cpu", "cpu"),
        ("JAX_COMPILATION_CACHE_DIR", "/somewhere", "/somewhere"),
        ("JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS", "2", "2"),
        ("EQX_ON_ERROR", "raise", "nan"),
        ("NVIDIA_TF32_OVERRIDE", "1", GONE),
        ("HDF5_USE_FILE_LOCKING", "TRUE", "TRUE"),
        ("PYTHONUTF8", "0", "1"),
        ("OMP_NUM_THREADS", "4", "4"),
        ("CUDA_VISIBLE_DEVICES", "1", "1"),
        ("TMPDIR", "/scratch", "/scratch"),
        ("XLA_FLAGS", THREAD, THREAD),
    ],
)
def test_a_variable_of_the_user(name, users, holds):
    found = {name: users}
    notes = prepare(found)
    assert found.get(name) == holds
    # One that does not hold is said, with its value and the reason.
    assert [note.startswith(f"{name}={users} does not hold in a job: ") for note in notes] == (
        [True] if holds != users else []
    )


@pytest.mark.parametrize(
    ("name", "holds"),
    [
        ("MPLBACKEND", "agg"),
        ("EQX_ON_ERROR", "nan"),
        ("HDF5_USE_FILE_LOCKING", "FALSE"),
        ("PYTHONUTF8", "1"),
        ("XLA_FLAGS", THREAD),
        ("NPROC", "1"),
        ("OMP_NUM_THREADS", "1"),
        ("JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS", "0"),
    ],
)
def test_what_holds_where_the_user_says_nothing(name, holds):
    found: dict[str, str] = {}
    assert prepare(found) == ()
    assert found[name] == holds


def test_the_users_flags_come_last_and_so_win():
    found = {"XLA_FLAGS": "--xla_cpu_multi_thread_eigen=true"}
    prepare(found)
    assert found["XLA_FLAGS"] == f"{THREAD} --xla_cpu_multi_thread_eigen=true"


def test_a_second_call_changes_and_says_nothing():
    found = {"JAX_ENABLE_X64": "1", "XLA_FLAGS": "--xla_cpu_enable_fast_math=false"}
    assert prepare(found)
    before = dict(found)
    assert (prepare(found), found) == ((), before)


def test_an_unknown_flag_is_named():
    with pytest.raises(EnvironmentRefused) as refused:
        prepare({"XLA_FLAGS": "--xla_no_such_flag=1"})
    words = "XLA_FLAGS=--xla_no_such_flag=1: XLA knows no flag --xla_no_such_flag=1; unset it"
    assert str(refused.value).startswith(words)


def test_what_numbers_may_depend_on_is_recorded():
    found = {"XLA_FLAGS": THREAD, "JAX_PLATFORMS": "cpu", "MPLBACKEND": "agg", "HOME": "/home/me"}
    assert json.loads(recorded(found)) == {"XLA_FLAGS": THREAD, "JAX_PLATFORMS": "cpu"}


def test_every_line_of_the_table_decides_about_something():
    """None is hidden by a line before it."""
    for one in environment.TABLE:
        assert environment.rule(one.name.replace("*", "ANYTHING")) is one, one.name


@pytest.mark.parametrize("encoding", ["ascii", "latin-1"])
def test_words_in_any_alphabet_can_be_printed_in_any_locale(encoding):
    code = "from rodflow.cli.environment import prepare; prepare(); print('\\u03b7 \\u00d7')"
    own = os.environ | {"PYTHONIOENCODING": encoding, "PYTHONUTF8": "0"}
    found = subprocess.run([sys.executable, "-c", code], env=own, capture_output=True)
    assert found.stdout.decode() == "η ×\n", found.stderr


def test_no_text_is_read_or_written_in_the_encoding_of_the_locale():
    """Python warns of each place where the locale would decide."""
    code = (
        "from rodflow.config import uses\n"
        "from rodflow.config.settings import load, resolve\n"
        "from rodflow.config.catalogue import FIGURES\n"
        "[FIGURES[name] for name in FIGURES]\n"
        "print(uses.code('comparison'))"
    )
    command = [sys.executable, "-X", "warn_default_encoding", "-W", "error::EncodingWarning"]
    found = subprocess.run([*command, "-c", code], capture_output=True, text=True)
    assert found.returncode == 0, found.stderr
