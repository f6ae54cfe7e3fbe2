"""A part of `make chaos`: calls of each job fail or die, the job runs again, tables are equal."""

from __future__ import annotations

import pytest

from tests.chaos.__main__ import Chaos
from tests.chaos.cases import CASES

STRIDE = 29  # every so many-th trial of a case
FAILING = [case for case in CASES if case.name in ("label-edit", "evaluate", "train-again")]
KILLED = [case for case in CASES if case.name == "baseline-again"]


@pytest.mark.slow
@pytest.mark.parametrize("case", FAILING, ids=lambda case: case.name)
def test_calls_that_fail(spark, tmp_path, case):
    chaos = Chaos(tmp_path, spark)
    chaos.exceptions([case], STRIDE, None)
    assert len(chaos.done) >= 2
    assert chaos.wrong == []


@pytest.mark.slow
def test_processes_that_die(spark, tmp_path):
    chaos = Chaos(tmp_path, spark)
    chaos.kills(KILLED, STRIDE, None)
    assert len(chaos.done) >= 1
    assert chaos.wrong == []
