"""Processes that work for an audit side by side, end with it, and may be lost to a file without ending it."""

import multiprocessing
import os
import threading
import time
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from contextlib import ExitStack, contextmanager
from typing import Protocol, TypeVar

Item = TypeVar("Item")
Found = TypeVar("Found")


class Map(Protocol):
    """As the function `map`; `lost` says what was found in an item whose process did not live to say it."""

    def __call__(
        self,
        function: Callable[[Item], Found],
        items: Iterable[Item],
        /,
        *,
        lost: Callable[[Item], Found],
    ) -> Iterable[Found]: ...


PAUSE = 0.5
"""Seconds between two looks at whether the audit still runs."""


@contextmanager
def pool(workers: int) -> Iterator[Map]:
    """The `map` of some processes, or the plain one.

    The processes of each call are copies of this one as it is then: they know what it has read. They should start
    before it has a thread of JAX.
    """
    if workers < 2:
        yield lambda function, items, /, *, lost: map(function, items)
        return
    with ExitStack() as stack:

        def each(
            function: Callable[[Item], Found],
            items: Iterable[Item],
            /,
            *,
            lost: Callable[[Item], Found],
        ) -> Iterable[Found]:
            processes = stack.enter_context(_processes(workers))
            futures = [(item, processes.submit(function, item)) for item in items]
            return (_result(function, item, future, lost) for item, future in futures)

        yield each


def _processes(count: int) -> ProcessPoolExecutor:
    context = multiprocessing.get_context("fork")
    return ProcessPoolExecutor(count, context, _end_with, (os.getpid(),))


def _result(
    function: Callable[[Item], Found],
    item: Item,
    future: Future[Found],
    lost: Callable[[Item], Found],
) -> Found:
    """What a process found. One that dies takes the work of its neighbours with it, so each is then asked alone."""
    try:
        return future.result()
    except BrokenProcessPool:
        pass
    with _processes(1) as alone:
        try:
            return alone.submit(function, item).result()
        except BrokenProcessPool:
            return lost(item)


def _end_with(parent: int) -> None:
    """End this process when its parent is gone, which a killed one cannot ask for."""

    def watch() -> None:
        while os.getppid() == parent:
            time.sleep(PAUSE)
        os._exit(1)

    threading.Thread(target=watch, daemon=True).start()
