"""Spark's further attempts at a task: none where the first one tells why no other can succeed."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING
from uuid import uuid4

from engine.storage.jvm import attempts, cancel, failures_of_tasks, running_stages, tagged

if TYPE_CHECKING:
    from pyspark.sql import SparkSession

_EVERY = 0.5  # seconds between two looks


class TaskFailedError(Exception):
    """What the first attempt at a task failed for, in Spark's words."""


@contextmanager
def one_attempt(spark: SparkSession, is_final: Callable[[str], bool]) -> Iterator[None]:
    """Stop what runs in this block at the first failure of a task that another attempt repeats.

    Parameters
    ----------
    spark
        The session that runs it.
    is_final
        Whether what an attempt failed for makes others fail, too.

    Raises
    ------
    TaskFailedError
        With Spark's words on that attempt.
    """
    if attempts(spark) <= 1:
        yield
        return
    tag, done, final = f"engine-{uuid4().hex}", threading.Event(), list[str]()
    others = running_stages(spark)  # a stage that was cancelled runs until its tasks end

    def look() -> None:
        while not final and not done.wait(_EVERY):
            final.extend(text for text in failures_of_tasks(spark, others) if is_final(text))
        if final:
            cancel(spark, tag)

    looking = threading.Thread(target=look, daemon=True)
    looking.start()
    try:
        with tagged(spark, tag):
            yield
    except Exception as error:
        if final:
            raise TaskFailedError(final[0]) from error
        raise
    finally:
        done.set()
        looking.join()
