"""What a rule may say, and what is said of one that can't be read."""

from __future__ import annotations

import datetime as dt

import pytest
import yaml

from engine.errors import ConfigError, MetricError
from engine.gate.rules import Reference, Rule, Waiver, parse_rule, threshold_rules
from engine.project.load import load_project

FORM = (
    "a rule is METRIC >= BOUND (or >, <=, <), the bound a number, or complement, last, slice ID or "
    "model ID, with * NUMBER, + NUMBER or - NUMBER after it; ' on SLICE, SLICE*' may end it: "
    "'f1 >= 0.8', 'recall >= complement - 0.05 on sex_*'"
)
TEXTS = {
    "f1 >= 0.8": Rule("f1", True, 0.8),
    "f1>.80": Rule("f1", True, 0.8, inclusive=False),
    " mae < 1e-3 ": Rule("mae", False, 0.001, inclusive=False),
    "bias <= -2.5": Rule("bias", False, -2.5),
    "precision@threshold=.7 >= .9": Rule("precision@threshold=0.7", True, 0.9),
    "our_own >= 3": Rule("our_own", True, 3.0),
    "f1 >= complement": Rule("f1", True, 0.0, Reference("complement")),
    "f1 >= last * 0.99": Rule("f1", True, 0.0, Reference("last"), 0.99),
    "f1 >= last*.9 + .01": Rule("f1", True, 0.01, Reference("last"), 0.9),
    "f1 >= slice young - 0.05": Rule("f1", True, -0.05, Reference("slice", "young")),
    "f1 >= model our old model": Rule("f1", True, 0.0, Reference("model", "our old model")),
    "f1 >= model v-1 - .1": Rule("f1", True, -0.1, Reference("model", "v-1")),
    "f1 >= .8 on a, b_*": Rule("f1", True, 0.8, slices=("a", "b_*")),
    "f1 >= model on on a": Rule("f1", True, 0.0, Reference("model", "on"), slices=("a",)),
}


@pytest.mark.parametrize("text", TEXTS)
def test_a_rule_is_read_and_its_own_text_is_the_same_rule(text):
    rule = parse_rule(text)
    assert rule == TEXTS[text]
    on = f" on {', '.join(rule.slices)}" if rule.slices else ""
    assert parse_rule(rule.text + on) == rule


WRONG = {
    "f1": f"'f1' is no rule: {FORM}",
    "": f"'' is no rule: {FORM}",
    "f1 >=": f"'f1 >=' is no rule: {FORM}",
    "f1 => .8": "'f1 => .8': '=>' compares nothing; write one of >=, >, <=, <",
    "f1 == .8": "'f1 == .8': '==' compares nothing; write one of >=, >, <=, <",
    "f1 >= complment - .05": (
        "'f1 >= complment - .05': 'complment - .05' is no bound; did you mean 'complement'?; "
        f"{FORM}"
    ),
    "f1 >= slice": f"'f1 >= slice': 'slice' is no bound; {FORM}",
    "f1 >= .8 - .1": f"'f1 >= .8 - .1': '.8 - .1' is no bound; {FORM}",
    "precision@treshold=.5 >= .8": (
        "metric 'precision@treshold=.5': parameter 'treshold': it takes threshold, top"
    ),
}


@pytest.mark.parametrize("text", WRONG)
def test_what_is_no_rule(text):
    with pytest.raises(MetricError) as raised:
        parse_rule(text)
    assert str(raised.value) == WRONG[text]


def test_mlflows_words():
    old = Reference("model", "old")
    assert [r.text for r in threshold_rules("mae", 2, 0.1, 0.05, against=old)] == [
        "mae <= 2", "mae <= model old - 0.1", "mae <= model old * 0.95",
    ]  # fmt: skip
    up = threshold_rules("mae", min_absolute_change=0.0, greater_is_better=True, against=old)
    assert [r.text for r in up] == ["mae >= model old"]


def project(folder, **gate):
    file = folder / "p.yaml"
    settings = {"name": "x", "root": str(folder), "source": {"table": "t"}, "key": "id"}
    file.write_text(yaml.safe_dump({**settings, "gate": gate}), encoding="utf-8")
    return file


def test_the_project_file_has_rules_in_both_forms(tmp_path):
    rules = [
        "f1>=.8",
        {"rule": "accuracy >= complement", "slices": "a*", "level": "warn", "name": "fair"},
        {
            "metric": "f1", "threshold": 0.7, "min_absolute_change": -0.02, "against": "last",
            "certainty": "none", "models": ["baseline"], "splits": ["test", None],
        },
        {"metric": "f1", "min_relative_change": 0, "against": {"slice": "a"}},
    ]  # fmt: skip
    waivers = [
        {"rule": "f1 >= .80", "owner": "ann", "reason": "new camera", "until": "2027-01-31"},
        {"rule": "fair", "slices": ["a_1"], "owner": "bob", "reason": "few", "until": "2027-01-31"},
    ]
    gate = load_project(project(tmp_path, rules=rules, waivers=waivers, strict=True)).gate
    only = {"models": ("baseline",), "splits": ("test", None), "plain": True}
    assert gate.all_rules == [
        Rule("f1", True, 0.8),
        Rule(
            "accuracy",
            True,
            0.0,
            Reference("complement"),
            slices=("a*",),
            level="warn",
            name="fair",
        ),
        Rule("f1", True, 0.7, **only),
        Rule("f1", True, -0.02, Reference("last"), **only),
        Rule("f1", True, 0.0, Reference("slice", "a")),
    ]
    assert [r.patterns for r in gate.all_rules] == [
        ("overall",), ("a*",), ("overall",), ("overall",), ("*",)
    ]  # fmt: skip
    day = dt.date(2027, 1, 31)
    assert gate.leave == [
        Waiver("f1 >= 0.8", "ann", "new camera", day), Waiver("fair", "bob", "few", day, ("a_1",)),
    ]  # fmt: skip
    assert (gate.strict, gate.nightly) == (True, False)


NO_CHANGE = {"metric": "f1", "min_absolute_change": 0.1}
LEAVE = {"rule": "f1 >= 0.8", "owner": "ann", "reason": "x", "until": "2027-01-31"}
EITHER = (
    "gate.rules.0: give either rule, a text such as 'f1 >= 0.8', or metric with threshold, "
    "min_absolute_change or min_relative_change, found "
)
UNREADABLE = [
    (
        ["f1 => .8"], [],
        "gate.rules.0: 'f1 => .8': '=>' compares nothing; write one of >=, >, <=, <",
    ),
    (
        ["recall >= .8"], [],
        "gate: the rule 'recall >= 0.8' names the metric 'recall', which the project hasn't; "
        "known: accuracy, f1",
    ),
    (
        ["f1 >= model baselin"], [],
        "gate: the rule 'f1 >= model baselin' names the model 'baselin', which the project hasn't; "
        "did you mean 'baseline'?",
    ),
    (
        [{"metric": "f1", "treshold": 0.8}], [],
        "unknown key 'gate.rules.0.treshold'; did you mean 'threshold'?",
    ),
    ([{}], [], f"{EITHER}neither"),
    ([{"rule": "f1 >= .8", "threshold": 0.8}], [], f"{EITHER}rule, threshold"),
    (
        [{"rule": "f1 >= .8 on a", "slices": "b"}], [],
        "gate.rules.0: 'f1 >= .8 on a' has slices after 'on': leave out slices",
    ),
    (
        [{"metric": "f1"}], [],
        "gate.rules.0: the rule for f1 asks nothing: give threshold, min_absolute_change or "
        "min_relative_change",
    ),
    (
        [NO_CHANGE], [],
        "gate.rules.0: the rule for f1 has min_absolute_change, and needs against: complement, "
        "last, {slice: ID} or {model: ID}",
    ),
    (
        [{"metric": "f1", "threshold": 0.8, "against": "last"}], [],
        "gate.rules.0: the rule for f1 has against, and needs min_absolute_change or "
        "min_relative_change; 0 for no worse",
    ),
    (
        [{"metric": "selection_rate", "threshold": 0.8}], [],
        "gate.rules.0: of selection_rate neither high nor low values are better: give "
        "greater_is_better",
    ),
    (
        [{**NO_CHANGE, "against": "lst"}], [],
        "gate.rules.0.against: must be complement, last, {slice: ID} or {model: ID}, found 'lst'",
    ),
    (
        [{"metric": "f1", "threshold": float("nan")}], [],
        "gate.rules.0.threshold: must be a finite number, found nan",
    ),
    (
        [{"rule": "f1 >= .8", "level": "warm"}], [],
        "gate.rules.0.level: must be 'fail' or 'warn', found 'warm'; did you mean 'warn'?",
    ),
    (
        ["f1 >= .8"], [{**LEAVE, "rule": "f1 >= .81"}],
        "gate: the waiver of ann is of 'f1 >= 0.81', which is no rule; did you mean 'f1 >= 0.8'?",
    ),
    (
        ["f1 >= .8"], [{**LEAVE, "until": "soon"}],
        "gate.waivers.0.until: must be a date, such as 2024-05-31, found 'soon'",
    ),
    (
        ["f1 >= .8"], [{k: v for k, v in LEAVE.items() if k != "reason"}],
        "the key 'gate.waivers.0.reason' is missing",
    ),
]  # fmt: skip


@pytest.mark.parametrize(
    ("rules", "waivers", "said"), UNREADABLE, ids=[u[2][:40] for u in UNREADABLE]
)
def test_what_the_project_file_says_of_wrong_rules(tmp_path, rules, waivers, said):
    file = project(tmp_path, rules=rules, waivers=waivers)
    with pytest.raises(ConfigError) as raised:
        load_project(file)
    assert str(raised.value) == f"{file}: {said}"
