"""The same work on many cases, in one process or in several."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from typing import TypeVar

import torch

from LandmarkFusionLogic.errors import InputError

Task = TypeVar("Task")
Outcome = TypeVar("Outcome")


def each(work: Callable[[Task], Outcome], tasks: Sequence[Task], workers: int) -> Iterator[Outcome]:
    """``work`` of each of the ``tasks``, in their order, shared by ``workers`` processes of one thread each.

    With one worker it happens here. Raises InputError for no workers, and whatever ``work`` raises.
    """
    if workers < 1:
        raise InputError("At least one worker is needed.")
    if workers == 1:
        yield from map(work, tasks)
        return
    # Spawned, since torch's threads do not survive a fork.
    with ProcessPoolExecutor(
        workers, mp_context=get_context("spawn"), initializer=torch.set_num_threads, initargs=(1,)
    ) as pool:
        futures = [pool.submit(work, task) for task in tasks]
        try:
            for future in futures:
                yield future.result()
        finally:
            pool.shutdown(wait=True, cancel_futures=True)
