"""The functions that a table knows: they are there, travel by name, and change nothing."""

from __future__ import annotations

import copy
import datetime as dt
import importlib
import json
import math
import pickle
import random
import statistics
from collections import Counter
from decimal import Decimal

import numpy as np
import pytest

from engine.ops.functions import _KNOWN, Function, known_function, with_keywords

ENTRIES = [
    (module, entry.partition(":")[0]) for module, names in _KNOWN.items() for entry in names.split()
]
# Arguments to call a function with, each of them once: what changes one is seen.
VALUES = ["1", "2024-05-06", "a b", 3, 2.5, [3, 1, 2], {"b": 1, "a": [2]}, Decimal("1.5"), b"ab",
          dt.date(2024, 5, 6), None]  # fmt: skip


@pytest.mark.parametrize(("module", "name"), ENTRIES, ids=[".".join(e) for e in ENTRIES])
@pytest.mark.filterwarnings("ignore")
def test_a_known_function_changes_nothing_and_says_the_same_again(module, name):
    importlib.import_module(module)
    function = pickle.loads(pickle.dumps(Function(module, name)))
    known = known_function(function.run)
    assert known is not None
    assert known.run == function.run
    for value in VALUES:
        given = copy.deepcopy(value)
        try:
            first = function.run(given)
        except Exception:
            continue
        assert given == value
        assert repr(function.run(copy.deepcopy(value))) == repr(first) or " 0x" in repr(first)


@pytest.mark.parametrize(
    "f",
    [print, open, input, random.random, dt.datetime.now, dt.date.today, list.sort, Counter,
     np.random.rand, np.save, exec, setattr, math.factorial, json.dump, lambda x: x],
)  # fmt: skip
def test_what_may_change_something_or_take_long_is_not_known(f):
    assert known_function(f) is None


def test_a_function_is_known_by_what_it_is():
    class Loud(type):
        def __hash__(cls):
            raise AssertionError("asked")

    assert known_function(Loud("mean", (), {})) is None
    assert repr(known_function(statistics.mean)) == "statistics.mean"
    assert known_function(math.log) != known_function(np.log)


def test_last_arguments_get_names():
    assert with_keywords(sorted, ("reverse",))([1, 3, 2], True) == [3, 2, 1]
    assert Function("math", "isclose", ("rel_tol",)).key == "function:math.isclose(rel_tol)"
