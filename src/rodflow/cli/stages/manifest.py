"""List all artifacts and figures of a results folder with their SHA-256 in manifest.sha256.

A file that is neither as the last manifest lists it nor as a job wrote it since is named, and nothing is written.
"""

from collections.abc import Mapping

from rodflow.cli.jobs import PATH, Job, Option

OPTIONS: Mapping[str, Option] = {"output": PATH}
COMPUTES = False


def run(job: Job) -> None:
    """Write the manifest, unless something was altered."""
    from rodflow.store.manifest import write_manifest

    write_manifest(job.args.root)
