"""Work that is done whenever rows arrive in a Delta table, each batch once: Structured Streaming.

The stream says that rows came and remembers which; the work reads the table itself, at its newest
version, in the caller's thread. So work that finds its version done already has nothing to do, and
a batch that is given again after a death changes nothing.
"""

from __future__ import annotations

from collections.abc import Callable
from queue import Empty, Queue
from typing import TYPE_CHECKING

from engine.errors import SetupError, TableError
from engine.storage import tables
from engine.storage.place import Place

if TYPE_CHECKING:
    from pyspark.sql import DataFrame, SparkSession

_PAUSE = 0.2  # seconds between two looks for a batch


def stream(
    spark: SparkSession, place: Place, checkpoint: str, work: Callable[[int], None], once: bool
) -> int:
    """Call a function for each batch of rows that arrives; return how many there were.

    Parameters
    ----------
    spark
        The session.
    place
        The Delta table.
    checkpoint
        The folder in which the stream remembers which rows were given.
    work
        Takes the number of a batch. What it raises stops the stream, which gives that batch again
        when it starts anew.
    once
        Whether to end when all rows that are there were given, instead of waiting for more.

    Raises
    ------
    TableError
        If the table is no Delta table.
    """
    if not tables.exists(spark, place):
        raise TableError(f"{place} is no Delta table, and rows of others can't be waited for")
    batches, done = Queue[int](), Queue[bool]()

    def on_batch(_: DataFrame, batch: int) -> None:
        batches.put(batch)
        if not done.get():
            raise SetupError("the work of this batch failed")

    # Updates and deletes count as rows that arrive, in the files that they rewrite.
    reader = spark.readStream.format("delta").option("ignoreChanges", "true")
    rows = reader.table(place.text) if place.in_catalog else reader.load(place.text)
    writer = rows.writeStream.foreachBatch(on_batch).option("checkpointLocation", checkpoint)
    query = (writer.trigger(availableNow=True) if once else writer).start()
    n = 0
    try:
        while query.isActive or not batches.empty():
            try:
                batch = batches.get(timeout=_PAUSE)
            except Empty:
                continue
            work(batch)
            done.put(True)
            n += 1
    finally:
        done.put(False)  # a batch that waits, if there is one
        query.stop()
    if error := query.exception():
        raise error
    return n
