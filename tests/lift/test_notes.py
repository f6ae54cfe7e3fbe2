"""What the writer of a slicing function is told: that its mask is another one in every run."""

from __future__ import annotations

import datetime as dt
import itertools
import os
import random
import secrets
import time
import uuid
from random import choice
from uuid import UUID, uuid4

import numpy as np
import pyarrow as pa
import pytest
from numpy.random import rand

from engine import SlicingFunction, compile_slices
from engine.slicing.fingerprint.chance import counter, moment, randomness
from engine.slicing.fingerprint.identity import fingerprint, unknowns

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


MOMENTS = {
    "time.time": lambda x: time.time() > x.at,
    "time.monotonic": lambda x: time.monotonic() > x.at,
    "time.perf_counter": lambda x: time.perf_counter() > x.at,
    "datetime.now": lambda x: dt.datetime.now(dt.UTC) > x.at,
    "datetime.utcnow": lambda x: dt.datetime.utcnow() > x.at,
    "date.today": lambda x: dt.date.today() > x.day,
    "os.urandom": lambda x: os.urandom(1) > b"a",
    "os.getpid": lambda x: os.getpid() % 2 == 1,
}
NO_MOMENTS = {
    "a date": lambda x: dt.date(2024, 5, 1) > x.day,
    "a time of the row": lambda x: dt.datetime.fromtimestamp(x.at, dt.UTC).hour > 5,
    "a column of that name": lambda x: x.time > 1 and x.now,
    "a path": lambda x: os.path.basename(x.path) == "a",
    "a wait": lambda x: time.sleep(0) is None,
}


@pytest.mark.parametrize("name", MOMENTS)
def test_what_asks_for_the_time_is_named(name):
    assert moment(MOMENTS[name]) == name


@pytest.mark.parametrize("name", NO_MOMENTS)
def test_what_does_not_ask_for_the_time_is_not(name):
    assert moment(NO_MOMENTS[name]) is None


SEEN, CACHE, NUMBERS, STATE = 0, {}, itertools.count(), {"n": 0}


def of_a_global(x):
    global SEEN  # noqa: PLW0603
    SEEN += 1
    return SEEN % 2 == 1


def of_a_dict(x):
    STATE["n"] += 1
    return STATE["n"] > 5


def of_a_count(x):
    return next(NUMBERS) % 2 == 0


def of_a_variable_around():
    n = 0

    def f(x):
        nonlocal n
        n += 1
        return n > 5

    return f


def with_a_cache(x):
    if x.text not in CACHE:
        CACHE[x.text] = len(x.text)
    return CACHE[x.text] > 3


def with_a_sum_of_its_own(x):
    n = 0
    for word in x.text.split():
        n += len(word)
    return n > 5 and next(iter(x.text), "") == "a"


def test_what_counts_is_named():
    assert counter(of_a_global) == "SEEN"
    assert counter(of_a_dict) == "STATE"
    assert counter(of_a_count) == "NUMBERS"
    assert counter(of_a_variable_around()) == "n"
    assert counter(with_a_cache) is None
    assert counter(with_a_sum_of_its_own) is None


def of_a_helper():
    return random.random()


@pytest.mark.parametrize(
    ("f", "named"),
    [
        (lambda x: random.random() < 0.5, "random.random"),
        (lambda x: time.time() > x.at, "time.time"),
        (lambda x: uuid.uuid4().hex > "a", "uuid.uuid4"),
        (lambda x: of_a_helper() > x.n, "random.random"),
    ],
)
def test_what_cannot_be_repeated_has_no_known_fingerprint(f, named):
    sf = SlicingFunction("some", f)
    assert fingerprint(sf).endswith("-unknown")
    (why,) = unknowns(sf)
    assert why.endswith(f"which calls {named}, whose answer is another one each time")


def test_the_sentences(caplog):
    sfs = [SlicingFunction("late", MOMENTS["time.time"]), SlicingFunction("counts", of_a_global)]
    with caplog.at_level("WARNING", "engine"):
        compile_slices(sfs, pa.schema({"at": pa.float64()}))
    assert caplog.messages == [
        "slice 'late' depends on when and where it runs (time.time): its mask is another one in "
        "every run; compare with a column or a constant instead",
        "slice 'counts' counts in 'SEEN' as it runs: what it answers may depend on the rows "
        "before, which are others in each run; answer by the row alone",
    ]
