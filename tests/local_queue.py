"""A batch system of one machine for tests: `submit jobscript`, `status number`; jobs run detached, side by side."""

import os
import subprocess
import sys
from pathlib import Path

QUEUE = Path(os.environ["LOCAL_QUEUE"])


def submit(arguments: list[str]) -> None:
    """Print the number of the job. What was asked for stands beside its exit status."""
    *asked, script = arguments
    number = sum(1 for _ in QUEUE.glob("*.asked"))
    (QUEUE / f"{number}.asked").write_text(" ".join(asked))
    status, output = QUEUE / f"{number}.status", QUEUE / f"{number}.output"
    command = (
        f'sh "{script}" > "{output}" 2>&1; echo $? > "{status}.new"; mv "{status}.new" "{status}"'
    )
    nothing = subprocess.DEVNULL
    subprocess.Popen(
        ["sh", "-c", command], stdin=nothing, stdout=nothing, stderr=nothing, start_new_session=True
    )
    print(number)


def status(number: str) -> None:
    """Print running, success or failed."""
    ended = QUEUE / f"{number}.status"
    words = {"0": "success"}
    print(words.get(ended.read_text().strip(), "failed") if ended.exists() else "running")


if __name__ == "__main__":
    match sys.argv[1:]:
        case ["submit", *arguments]:
            submit(arguments)
        case ["status", number]:
            status(number)
        case wrong:
            sys.exit(f"not understood: {wrong}")
