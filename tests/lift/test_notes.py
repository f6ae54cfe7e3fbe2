"""What the writer of a slicing function is told: that its mask is another one in every run."""

from __future__ import annotations

import random
import secrets
import uuid
from random import choice
from uuid import UUID, uuid4

import numpy as np
import pyarrow as pa
import pytest
from numpy.random import rand

from engine import SlicingFunction, compile_slices
from engine.lift.notes import randomness

DRAWN = {
    "random.random": lambda x: random.random() < 0.5,
    "random.choice": lambda x: choice([True, False]),
    "numpy.random.rand": lambda x: rand() < 0.5,
    "numpy.random.choice": lambda x: np.random.choice(3) == 1,
    "secrets.randbelow": lambda x: secrets.randbelow(2) == 1,
    "uuid.uuid1": lambda x: uuid.uuid1().int % 2 == 1,
    "uuid.uuid4": lambda x: uuid4().int % 2 == 1,
}
NOT_DRAWN = {
    "a column of that name": lambda x: x.random < 0.1 and np.isnan(x.choice),
    "a parsed id": lambda x: uuid.UUID(x.id).version == 4,
    "a parsed id by name": lambda x: UUID(x.id).version == 4,
    "an id of a name": lambda x: uuid.uuid5(uuid.NAMESPACE_DNS, x.id).int % 2 == 1,
    "a comparison": lambda x: secrets.compare_digest(x.a, x.b),
    "a seed of the row": lambda x: random.Random(x.id).random() < 0.5,
    "numpy": lambda x: np.sqrt(x.n) > 1,
}


@pytest.mark.parametrize("name", DRAWN)
def test_what_draws_is_named(name):
    assert randomness(DRAWN[name]) == name


@pytest.mark.parametrize("name", NOT_DRAWN)
def test_what_does_not_draw_is_not(name):
    assert randomness(NOT_DRAWN[name]) is None


def test_the_sentence(caplog):
    sf = SlicingFunction("some", DRAWN["numpy.random.choice"])
    with caplog.at_level("WARNING", "engine"):
        compile_slices([sf], pa.schema({"n": pa.int64()}))
    assert caplog.messages == [
        "slice 'some' is random (numpy.random.choice without a seed): its mask is another one in "
        "every run; seed a random.Random from the row's key instead"
    ]
