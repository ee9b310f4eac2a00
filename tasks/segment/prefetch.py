"""Reading one step ahead of whoever computes."""

from __future__ import annotations

from collections.abc import Generator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from typing import TypeVar

T = TypeVar("T")


def prefetch(items: Generator[T]) -> Generator[T]:
    """Yield ``items`` while a thread already makes the next one; exceptions come out where they belong.

    Close it: the thread has then ended, and so has ``items``.
    """
    with closing(items), ThreadPoolExecutor(max_workers=1, thread_name_prefix="read-ahead") as thread:
        coming = thread.submit(next, items, None)
        while (item := coming.result()) is not None:
            coming = thread.submit(next, items, None)
            yield item
