"""A part of `make chaos`: calls of each job fail or die, the job runs again, tables are equal."""

from __future__ import annotations

import pytest

from tests.chaos.__main__ import Chaos
from tests.chaos.cases import CASES as EVERY

CASES = {case.name: case for case in EVERY}


@pytest.mark.slow
@pytest.mark.parametrize("name", ["by-workers-edit", "appended-evaluated"])
def test_calls_that_fail(spark, tmp_path, name):
    chaos = Chaos(tmp_path, spark)  # most of the time goes into what is compared with
    trials = chaos.trials("exceptions", [CASES[name]], 0, 0)
    assert chaos.run(trials[5::61])
    assert len(chaos.done) >= 2
    assert chaos.wrong == []


@pytest.mark.slow
def test_processes_that_die(spark, tmp_path):
    chaos = Chaos(tmp_path, spark)
    assert chaos.run(chaos.trials("kills", [CASES["baseline-again"]], 0, 0)[::29])
    assert len(chaos.done) >= 1
    assert chaos.wrong == []


@pytest.mark.slow
def test_a_seed_says_which_trials_there_are(spark, tmp_path):
    chaos = Chaos(tmp_path, spark)
    cases = [CASES[name] for name in ("label-edit", "evaluate", "baseline-again")]
    one, same, other = (chaos.trials("random", cases, 9, seed) for seed in (1, 1, 2))
    assert len(one) == 9
    assert one == same
    assert [t.case for t in one] != [t.case for t in other]
    assert not chaos.run(one, seconds=-1)
    assert chaos.done == {}
