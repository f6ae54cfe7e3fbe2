"""Keys that repeat are suspected in the scan; keys that don't are not."""

from __future__ import annotations

import itertools

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from engine.metrics.repeats import KEPT, Repeats, suspected


def seen(tasks):
    packed = []
    for chunks in tasks:
        task = Repeats()
        for chunk in chunks:
            task.take(np.array(chunk, np.uint64))
        packed.append(task.packed())
    return suspected(packed)


@given(
    keys=st.lists(st.integers(0, 2**64 - 1), max_size=60),
    cuts=st.lists(st.integers(0, 60), max_size=5),
)
@settings(max_examples=200, deadline=None)
def test_of_few_rows_every_repeat_is_seen(keys, cuts):
    at = sorted({0, len(keys), *(c for c in cuts if c < len(keys))})
    tasks = [[keys[a:b]] for a, b in itertools.pairwise(at)]
    assert seen(tasks) == (len(set(keys)) < len(keys))


def test_of_many_rows_neighbours_and_repeats_in_the_sample_are_seen():
    rng = np.random.default_rng(0)
    keys = rng.integers(0, 2**64, 20 * KEPT, np.uint64)
    halves = [[part] for part in np.split(keys, 4)]
    assert not seen(halves)
    assert not seen([np.split(keys, 8)])
    assert seen([*halves, [keys[:100]]]) == (np.sort(keys)[: KEPT // 2][-1] > keys[:100].min())
    assert seen([*halves, [keys]])  # the table, twice
    assert seen([[keys, keys[-1:]]])  # next to each other, across chunks
    assert not seen([])
    assert not seen([[[]], [[]]])


def test_tasks_that_are_full_hide_no_repeat_below_what_they_kept():
    low, high = np.arange(KEPT), np.arange(10 * KEPT, 12 * KEPT)
    assert not seen([[low], [high]])
    assert seen([[low], [high], [[3]]])
    assert not seen([[low], [high], [[11 * KEPT]]])  # beyond the sample
