"""The key of a job: a killed one is continued by a job of the same key, and by no other."""

import hashlib
import json
from argparse import Namespace
from pathlib import Path

from rodflow.cli.environment import recorded
from rodflow.config.uses import code

_OUTPUTS = ("root", "output")


def key(stage: str, args: Namespace) -> str:
    """The digest of all that decides what a job gives.

    That is its arguments with the content of files, the code that its stage uses for them, the versions of packages,
    the kind of device, and those variables of the environment that numbers may depend on.
    """
    import jax

    from rodflow.store.provenance import versions

    given = {name: value for name, value in vars(args).items() if name not in _OUTPUTS}
    settings = given.get("settings", [])
    runs = settings if isinstance(settings, list) else [settings]
    kinds = [path.stem for path in args.output] if stage == "replay" else []
    parts = [
        {name: _content(value) for name, value in given.items()},
        code(stage, *runs, flow=given.get("flow", ""), replays=kinds),
        versions(),
        [device.device_kind for device in jax.devices()],
        recorded(),
    ]
    return hashlib.sha256(json.dumps(parts, sort_keys=True).encode()).hexdigest()


def _content(value: object) -> object:
    """A value as JSON; of a file, the digest of its content."""
    from rodflow.store.files import sha256

    if isinstance(value, list):
        return [_content(one) for one in value]
    return sha256(value) if isinstance(value, Path) else value
