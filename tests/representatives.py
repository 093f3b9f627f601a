"""Which cases of a test are quick enough for every run: the others are in the long suite."""

from collections.abc import Iterable
from typing import Any

import pytest


def now(cases: Iterable[Any], *chosen: Any) -> list[Any]:
    """All cases, those that are not chosen marked as slow.

    Raises:
        ValueError: one that is chosen is no case.
    """
    every = list(cases)
    if unknown := [case for case in chosen if case not in every]:
        raise ValueError(f"no cases: {unknown}")
    return [
        case
        if case in chosen
        else pytest.param(*(case if isinstance(case, tuple) else [case]), marks=pytest.mark.slow)
        for case in every
    ]
