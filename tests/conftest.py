"""Which modules begin: with two workers, one must not be left alone with the longest at the end."""

from pathlib import Path

import pytest

LONGEST = ["test_pipeline", "test_audit_attacks", "test_central_flow", "test_own_optimizer"]


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Put the longest modules first, and leave the others in their order."""
    items.sort(key=lambda item: (*LONGEST, Path(item.path).stem).index(Path(item.path).stem))
