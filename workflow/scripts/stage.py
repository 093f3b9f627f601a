"""What the scripts of all stages share: how they run, their arguments, progress and errors.

A script is called by Snakemake or by hand; the command is in the log of a failed job and works as it is.
"""

import argparse
import fcntl
import hashlib
import importlib.util
import json
import os
import resource
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import IO, Any

_held: list[IO[str]] = []  # locks, while the job lives


WARM = "RODFLOW_WARM"
"""The environment variable that names the socket of the warm process, see warm.py."""


def run(main: Callable[[], None], *, cores: int = 1) -> None:
    """Call a stage, in a warm process where there is one; its own errors are one line, without a traceback.

    Args:
        main: the stage.
        cores: that it uses; one that uses a single core is kept to it.
    """
    status = _handed_over()
    if status is not None:
        sys.exit(status)
    environment()
    if cores == 1:
        take_a_core()
    try:
        main()
    except (ValueError, RuntimeError) as error:
        if type(error).__module__.split(".")[0] != "rodflow":
            raise
        sys.exit(f"error: {error}")


def _handed_over() -> int | None:
    """The exit status of this script in a copy of the warm process; None if there is no such process."""
    if WARM not in os.environ:
        return None
    request = {"arguments": sys.argv, "folder": os.getcwd(), "environment": dict(os.environ)}
    with socket.socket(socket.AF_UNIX) as job:
        try:
            job.connect(os.environ[WARM])
        except OSError:
            return None
        socket.send_fds(job, [b"!"], [0, 1, 2])
        job.sendall(json.dumps(request).encode() + b"\n")
        status = job.recv(1)
    if not status:
        print("error: the job was killed, perhaps for want of memory", file=sys.stderr)
    return status[0] if status else 1


def environment() -> None:
    """What JAX and its friends must find when they are loaded: one thread, and where compiled programs are kept.

    n jobs of one thread side by side beat one job with n threads. The programs are in the cache folder of the user or
    RODFLOW_CACHE.
    """
    flag = "--xla_cpu_multi_thread_eigen=false"
    flags = os.environ.get("XLA_FLAGS", "")
    if flag not in flags:
        os.environ["XLA_FLAGS"] = f"{flag} {flags}".strip()
    os.environ.setdefault("NPROC", "1")
    os.environ.setdefault("OMP_NUM_THREADS", "1")
    default = Path(os.environ.get("XDG_CACHE_HOME", Path.home() / ".cache")) / "rodflow"
    folder = Path(os.environ.get("RODFLOW_CACHE", default)) / "jax"
    os.environ.setdefault("JAX_COMPILATION_CACHE_DIR", str(folder))
    os.environ.setdefault("JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS", "0")
    # The error of a solver is NaN, which ends a run as diverged: a callback would keep the program out of that folder.
    os.environ.setdefault("EQX_ON_ERROR", "nan")


def take_a_core() -> None:
    """Keep to a core that no other job of the user has taken, where the system allows it.

    XLA hands even the work of one thread around between a few; moved between cores, they cost a job up to
    twice its time.
    """
    if not hasattr(os, "sched_setaffinity"):
        return
    for core in sorted(os.sched_getaffinity(0)):
        if lock := _lock(f"core{core}"):
            os.sched_setaffinity(0, {core})
            _held.append(lock)
            return


def take_devices(settings: dict[str, Any]) -> None:
    """Keep to as many GPUs as the settings want, which no other job of the user has; wait until there are so many.

    To be called before JAX looks for devices. Nothing happens on a machine without GPUs, or where JAX has no plugin for
    them. Matrix products are then of full single precision, where a GPU would round their factors to ten bits.
    """
    count, known = settings.get("compute", {}).get("devices", 1), _gpus()
    if not known:
        return
    import jax

    jax.config.update("jax_default_matmul_precision", "highest")
    while len(known) >= count:  # with fewer the objective says so
        locks = {gpu: lock for gpu in known if (lock := _lock(f"gpu-{gpu}"))}
        for gpu in [*locks][count:]:
            locks.pop(gpu).close()
        if len(locks) == count:
            os.environ["CUDA_VISIBLE_DEVICES"] = ",".join(locks)
            _held.extend(locks.values())
            return
        for lock in locks.values():
            lock.close()
        time.sleep(1)


def stay_on_the_cpu() -> None:
    """Use no GPU, for work that is not worth one."""
    os.environ["JAX_PLATFORMS"] = "cpu"
    if jax := sys.modules.get("jax"):  # which has read its environment, as in the warm process
        jax.config.update("jax_platforms", "cpu")


def _gpus() -> list[str]:
    """The GPUs that JAX could use, by the names that are theirs wherever they are seen from: UUIDs."""
    plugins = (importlib.util.find_spec(f"jax_cuda{version}_plugin") for version in (12, 13))
    if os.environ.get("JAX_PLATFORMS") == "cpu" or not any(plugins):
        return []
    command = ["nvidia-smi", "--query-gpu=uuid", "--format=csv,noheader"]
    try:
        answer = subprocess.run(command, capture_output=True, text=True, check=True)
    except (OSError, subprocess.CalledProcessError):
        return []
    every, chosen = answer.stdout.split(), os.environ.get("CUDA_VISIBLE_DEVICES")
    if chosen is None:
        return every
    numbers = {str(number): gpu for number, gpu in enumerate(every)}
    return [numbers.get(gpu, gpu) for gpu in chosen.split(",") if gpu]


def _lock(what: str) -> IO[str] | None:
    """Take a part of this machine, if no other job of the user has it. The system frees it when the job ends."""
    file = (Path(tempfile.gettempdir()) / f"rodflow-{os.getuid()}-{what}.lock").open("w")
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        file.close()
        return None
    return file


def arguments(description: str | None, **options: dict[str, Any]) -> argparse.Namespace:
    """Parse --root, --output and the options given; --settings-like options are JSON.

    From then on the job notes in the root what it writes, so that the manifest knows it from what others altered.
    """
    from rodflow.store.manifest import note_writes

    parser = argparse.ArgumentParser(description=description)
    parser.add_argument("--root", required=True, type=Path, help="results/<name>")
    for name, option in ({"output": PATH} | options).items():
        parser.add_argument(f"--{name}", required=True, **option)
    parsed = parser.parse_args()
    note_writes(parsed.root)
    return parsed


JSON: dict[str, Any] = {"type": json.loads}
PATH: dict[str, Any] = {"type": Path}
PATHS: dict[str, Any] = {"type": Path, "nargs": "+"}


class Clock:
    """Wall time since the script began, and a progress line on standard error every few seconds."""

    def __init__(self, title: str, last: int) -> None:
        self.title, self.last = title, last
        self.restart()

    def restart(self, title: str | None = None) -> None:
        """Begin again, perhaps with something else."""
        self.title = title or self.title
        self.began = self.told = time.perf_counter()

    def tell(self, line: str, seconds: float) -> None:
        """Say how the job continues what a killed one spent so many seconds on, which count."""
        self.began -= seconds
        print(f"{self.title}: {line}", file=sys.stderr, flush=True)

    def __call__(self, step: int, loss: float) -> None:
        now = time.perf_counter()
        if now - self.told > 5 or step >= self.last:
            self.told = now
            message = (
                f"{self.title}: step {step} of {self.last}, loss {loss:.6g}, {self.elapsed:.0f} s"
            )
            print(message, file=sys.stderr, flush=True)

    @property
    def elapsed(self) -> float:
        """Seconds since the clock was started."""
        return time.perf_counter() - self.began


def scratch(args: argparse.Namespace, output: Path, clock: Clock) -> Any:
    """Where the job leaves what it has so far, beside its (first) output, and continues when it was killed."""
    from rodflow.store.checkpoint import PAUSE, Scratch

    return Scratch(
        output.with_name(f".{output.name}.partial"),
        lambda: _key(args),
        pause=float(os.environ.get(CHECKPOINT, PAUSE)),
        tell=clock.tell,
    )


CHECKPOINT = "RODFLOW_CHECKPOINT"
"""The environment variable with the seconds between two saves of a job; 0: at every opportunity."""


def _key(args: argparse.Namespace) -> str:
    """The digest of all that decides what a job gives: its arguments, inputs, code, versions and device."""
    import jax

    import rodflow
    from rodflow.store.files import sha256
    from rodflow.store.provenance import versions

    def content(value: Any) -> Any:
        if isinstance(value, list):
            return [content(one) for one in value]
        return sha256(value) if isinstance(value, Path) else value

    outputs = {"root", "output"}
    given = {name: content(value) for name, value in vars(args).items() if name not in outputs}
    code = sorted(Path(rodflow.__file__).parent.rglob("*.py"))
    parts = [
        given,
        [sha256(path) for path in (sys.argv[0], *code)],
        versions(),
        [device.device_kind for device in jax.devices()],
        [os.environ.get(name) for name in ("XLA_FLAGS", "JAX_ENABLE_X64")],
    ]
    return hashlib.sha256(json.dumps(parts, sort_keys=True).encode()).hexdigest()


def store(
    data: Any,
    output: Path,
    args: argparse.Namespace,
    clock: Clock,
    *,
    kind: str,
    settings: dict[str, Any],
    inputs: dict[str, Path],
) -> None:
    """Write what a run's job made, with its settings, status, cost and device."""
    import jax

    from rodflow.store import artifact

    if (status := data.attrs["status"]) != "completed":
        print(f"warning: {output.name}: {status}", file=sys.stderr)
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**10
    artifact.write(
        data.assign_attrs(peak_memory_mib=round(peak)),
        output,
        kind=kind,
        root=args.root,
        settings=settings,
        inputs=inputs,
        wall_time=clock.elapsed,
        status=status,
        device=jax.devices()[0].device_kind,
    )
