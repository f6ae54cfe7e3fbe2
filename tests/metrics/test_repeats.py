"""A key's repeats meet in one block, whatever tasks saw them."""

from __future__ import annotations

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from engine.metrics.scan.sums import blocks

HASHES = st.integers(-(2**63), 2**63 - 1)


@given(st.lists(st.lists(st.lists(HASHES, max_size=20), max_size=3), max_size=4))
@settings(max_examples=200, deadline=None)
def test_every_hash_is_sent_once_in_its_block(tasks):
    together: dict[int, list[int]] = {}
    for chunks in tasks:
        of, keys = blocks([np.array(chunk, np.int64) for chunk in chunks])
        assert len(set(of.tolist())) == len(of) == len(keys)
        for block, some in zip(of.tolist(), keys.to_pylist(), strict=True):
            assert some
            together.setdefault(block, []).extend(some)
    every = [key for chunks in tasks for chunk in chunks for key in chunk]
    assert sorted(k for some in together.values() for k in some) == sorted(every)
    assert sum(len(set(some)) for some in together.values()) == len(set(every))


def test_blocks_are_few_and_even():
    of, keys = blocks([np.random.default_rng(0).integers(-(2**63), 2**63, 2**16)])
    assert of.tolist() == list(range(256))
    assert 150 < min(map(len, keys)) <= max(map(len, keys)) < 370
