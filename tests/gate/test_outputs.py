"""What people and tools get: read again by others' parsers, and nothing in it commands anything."""

from __future__ import annotations

import datetime as dt
import json
from xml.etree import ElementTree

import numpy as np
import pandas as pd

from engine.gate.judge import Figures, Judgement, judge
from engine.gate.outputs import as_json, as_junit, as_markdown, sections, sentence
from engine.gate.rules import Waiver, parse_rule
from tests.gate.figures import figures, share

AT = dt.datetime(2024, 5, 2, 3, 4, 5, tzinfo=dt.UTC)
LEAVE = Waiver("accuracy >= 0.9", "ann", "new camera", dt.date(2024, 6, 1), ("known",))
NOW = figures(
    share("overall", 1900, 2000), share("bad", 300, 500), share("known", 300, 500),
    share("few", 9, 10),
)  # fmt: skip
RULES = ["accuracy >= .9 on *", "accuracy >= .97", "accuracy >= .9 on gone"]


def judged(strict: bool = False) -> Judgement:
    rules = [parse_rule(rule) for rule in RULES]
    return judge(rules, NOW, strict=strict, waivers=[LEAVE], today=dt.date(2024, 5, 2))


def test_json_is_that_of_great_expectations():
    result = json.loads(as_json(judged(strict=True), {"run": "a1"}, AT))
    assert list(result) == [
        "success", "results", "suite_name", "suite_parameters", "statistics", "meta", "id"
    ]  # fmt: skip
    assert result["success"] is False
    assert result["statistics"] == {
        "evaluated_expectations": 6, "successful_expectations": 2,
        "unsuccessful_expectations": 4, "success_percent": 100 * 2 / 6,
    }  # fmt: skip
    assert result["meta"]["verdicts"] == {"FAIL": 3, "MISSING": 1, "INCONCLUSIVE": 1, "PASS": 1}
    assert result["meta"]["validation_time"] == "2024-05-02T03:04:05+00:00"
    by_slice = {r["expectation_config"]["kwargs"]["slice"]: r for r in result["results"]}
    assert by_slice["known"]["success"] is True
    assert by_slice["known"]["meta"]["waiver"] == {
        "owner": "ann", "reason": "new camera", "until": "2024-06-01"
    }  # fmt: skip
    bad = by_slice["bad"]
    assert bad["expectation_config"]["kwargs"] == {
        "metric": "accuracy", "slice": "bad", "model": "m", "split": "test", "min_value": 0.9,
        "max_value": None, "strict_min": False, "strict_max": False,
    }  # fmt: skip
    assert bad["expectation_config"]["severity"] == "critical"
    assert bad["result"]["observed_value"] == 0.6
    assert by_slice["gone"]["result"]["observed_value"] is None
    assert bad["exception_info"]["raised_exception"] is False


def test_junit_counts_what_its_elements_are():
    root = ElementTree.fromstring(as_junit(judged(), {"run": "a1"}, AT))
    (suite,) = root.findall("testsuite")
    cases = suite.findall("testcase")
    kinds = {
        kind: len(suite.findall(f"testcase/{kind}")) for kind in ("failure", "error", "skipped")
    }
    assert kinds == {"failure": 2, "error": 1, "skipped": 2}
    for one in (root, suite):
        counts = [int(one.get(c)) for c in ("tests", "failures", "errors", "skipped")]
        assert counts == [len(cases), *kinds.values()] == [6, 2, 1, 2]
    (waived,) = [c for c in cases if c.get("name") == "known, model m, split test"]
    assert waived.get("classname") == "accuracy >= 0.9"
    assert waived.find("skipped").get("message") == (
        "FAIL (waived): accuracy >= 0.9, found 0.6000 [0.56 0.64]; waived by ann until 2024-06-01: "
        "new camera"
    )
    assert suite.find("properties/property").attrib == {"name": "run", "value": "a1"}
    strict = ElementTree.fromstring(as_junit(judged(strict=True), {}, AT))
    assert strict.get("failures") == "3"


def test_people_read_what_is_wrong_first():
    wrong, rules = sections(judged())
    assert [r[:3] for r in wrong.rows] == [
        ["FAIL", "bad", "accuracy >= 0.9"], ["FAIL", "overall", "accuracy >= 0.97"],
        ["FAIL (waived)", "known", "accuracy >= 0.9"], ["MISSING", "gone", "accuracy >= 0.9"],
        ["INCONCLUSIVE", "few", "accuracy >= 0.9"],
    ]  # fmt: skip
    assert [list(r) for r in rules.rows] == [
        ["accuracy >= 0.9", "fail", 2, 1, 1, 1], ["accuracy >= 0.97", "fail", 1, 0, 0, 0]
    ]  # fmt: skip
    assert sentence(judged()) == (
        "gate: FAIL (exit status 1): 6 checks: 3 FAIL, 1 MISSING, 1 INCONCLUSIVE, 1 PASS (1 waived)"
    )
    fine = judge([parse_rule("accuracy >= .5")], NOW)
    assert sentence(fine) == "gate: PASS (exit status 0): 1 check: 1 PASS"
    assert [s.title for s in sections(fine)] == ["Rules"]


NASTY = "a|b`<img src=x>\n@team #1 ![x](http://e.com) \x1b[31m\x00\ufffe]]>&amp;\u202e www.x.com"


def test_names_from_data_are_text_wherever_they_go():
    row = {**share("overall", 300, 500), "model_id": NASTY, "split": NASTY}
    waiver = Waiver("accuracy >= 0.9", NASTY, NASTY, dt.date(2024, 1, 1))
    nasty = judge(
        [parse_rule("accuracy >= .9")], Figures.of(pd.DataFrame([row])), waivers=[waiver],
        today=dt.date(2024, 5, 2),
    )  # fmt: skip
    about = {"run": NASTY}
    texts = [as_json(nasty, about, AT), as_junit(nasty, about, AT), as_markdown(nasty, about)]
    for text in texts:
        assert not {"\x1b", "\x00", "\u202e"} & set(text)
    assert "\x1b" not in json.dumps(json.loads(texts[0]), ensure_ascii=False)
    assert ElementTree.fromstring(texts[1]).get("failures") == "1"
    markdown = texts[2]
    assert not {"@", "`", "!", "["} & set(markdown)
    assert "<img" not in markdown
    assert "www." not in markdown
    table = [line for line in markdown.splitlines() if line.startswith("|")]
    assert {line.count("|") for line in table[:3]} == {11}
    assert markdown.count("\n") == len(markdown.splitlines())


def test_numbers_that_json_has_not_are_null():
    row = share("overall", 300, 500) | {"value": np.inf, "ci_low": None, "ci_high": None}
    text = as_json(judge([parse_rule("accuracy >= .9")], figures(row)), {}, AT)
    assert json.loads(text)["results"][0]["result"]["observed_value"] is None
