"""A judgement for people and tools: the terminal's tables, JSON, JUnit's XML, Markdown.

Names of models, splits and columns come from data. None of them commands a terminal, is markup, or
notifies a person whose name it happens to be.
"""

from __future__ import annotations

import datetime as dt
import json
import math
import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Any
from xml.etree import ElementTree

from engine.gate.evidence import Figure
from engine.gate.judge import FAILED, PASSED, UNDECIDED, Check, Judgement, Verdict
from engine.masks.splits import split_name
from engine.redaction import readable
from engine.report.sections import Section, decimal, ends

_RESULT = {PASSED: "PASS", FAILED: "FAIL", UNDECIDED: "INCONCLUSIVE"}
_COLUMNS = ("verdict", "slice", "rule", "model", "split", "value", "bound", "rows", "p", "why")
_MOST_SHOWN = 50
_NO_XML = re.compile("[^\t\n\x20-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")


def verdict_text(check: Check) -> str:
    """Return a check's verdict, and what makes it count as less than it is."""
    if check.verdict is Verdict.PASS:
        return "PASS"
    if check.waiver is not None:
        return f"{check.verdict} (waived)"
    return f"{check.verdict} (warn)" if check.rule.level == "warn" else str(check.verdict)


def why(check: Check) -> str:
    """Say why a check is what it is: its note, and whose leave there is."""
    parts = [check.note] if check.note else []
    if (waiver := check.waiver) is not None:
        parts.append(f"waived by {waiver.owner} until {waiver.until}: {waiver.reason}")
    return "; ".join(parts)


def value_text(figure: Figure | None) -> str:
    """Return a figure with its interval."""
    if figure is None or math.isnan(figure.value):
        return "-"
    there = not math.isnan(figure.low)
    between = f" [{' '.join(ends(figure.low, figure.high, 2))}]" if there else ""
    return f"{decimal(figure.value)}{between}"


def sentence(judgement: Judgement) -> str:
    """Say how a gate ends."""
    counts = [f"{judgement.count(v):,} {v}" for v in Verdict if judgement.count(v)]
    waived = sum(c.waiver is not None for c in judgement.checks)
    warn = sum(
        c.rule.level == "warn" and c.verdict is not Verdict.PASS and c.waiver is None
        for c in judgement.checks
    )
    less = [f"{n:,} {what}" for n, what in ((warn, "only warn"), (waived, "waived")) if n]
    of = f"{len(judgement.checks):,} check{'' if len(judgement.checks) == 1 else 's'}"
    also = f" ({', '.join(less)})" if less else ""
    status = judgement.status
    return f"gate: {_RESULT[status]} (exit status {status}): {of}: {', '.join(counts)}{also}"


def sections(judgement: Judgement) -> list[Section]:
    """Return the terminal's tables: each check that doesn't pass, then how each rule fares."""
    wrong = [c for c in judgement.checks if c.verdict is not Verdict.PASS]
    more = len(wrong) - _MOST_SHOWN
    rest = f" ({more:,} more in --json)" if more > 0 else ""
    shown = Section(
        "Checks that don't pass" + rest, _COLUMNS, [_cells(c) for c in wrong[:_MOST_SHOWN]]
    )
    rules = list(dict.fromkeys((c.rule.title, c.rule.level) for c in judgement.checks))
    rows = [
        [
            title, level,
            *(
                sum(
                    c.verdict is v and (c.rule.title, c.rule.level) == (title, level)
                    for c in judgement.checks
                )
                for v in Verdict
            ),
        ]
        for title, level in rules
    ]  # fmt: skip
    by_rule = Section(
        "Rules", ("rule", "level", *map(str, Verdict)), rows, "\n".join(judgement.notes)
    )
    return [shown, by_rule] if wrong else [by_rule]


def _cells(check: Check) -> list[Any]:
    rows = check.figure.support if check.figure is not None else None
    p = "-" if math.isnan(check.p_adjusted) else f"{check.p_adjusted:.2g}"
    bound = "-" if math.isnan(check.bound) else decimal(check.bound)
    return [
        verdict_text(check), check.slice, check.rule.title, check.model, split_name(check.split),
        value_text(check.figure), bound, rows, p, why(check) or "-",
    ]  # fmt: skip


def as_json(judgement: Judgement, about: Mapping[str, Any], at: dt.datetime) -> str:
    """Return a judgement in the shape of Great Expectations' validation results, as JSON.

    Parameters
    ----------
    judgement
        What was judged.
    about
        Facts of the run, for ``meta``.
    at
        When it was judged.
    """
    checks = judgement.checks
    good = sum(not _is_bad(c, judgement) for c in checks)
    whole = {
        "success": judgement.status == PASSED,
        "results": [_expectation(c, judgement) for c in checks],
        "suite_name": "gate",
        "suite_parameters": {},
        "statistics": {
            "evaluated_expectations": len(checks),
            "successful_expectations": good,
            "unsuccessful_expectations": len(checks) - good,
            "success_percent": 100.0 * good / len(checks) if checks else None,
        },
        "meta": {
            "run_id": dict(about),
            "validation_time": at.isoformat(), "exit_status": judgement.status,
            "verdicts": {str(v): judgement.count(v) for v in Verdict},
            "notes": list(judgement.notes),
        },
        "id": None,
    }  # fmt: skip
    return json.dumps(_plain(whole), indent=1, allow_nan=False) + "\n"


def _is_bad(check: Check, judgement: Judgement) -> bool:
    return check.fails or (judgement.strict and check.is_open)


def _expectation(check: Check, judgement: Judgement) -> dict[str, Any]:
    rule, figure, night, waiver = check.rule, check.figure, check.night, check.waiver
    absent = check.verdict is Verdict.MISSING
    where = [None if absent and name == "-" else name for name in check.key[1:]]
    least, most = (check.bound, None) if rule.at_least else (None, check.bound)
    return {
        "success": not _is_bad(check, judgement),
        "expectation_config": {
            "type": "expect_slice_metric_to_be_between",
            "kwargs": {
                "metric": rule.metric, "slice": where[2], "model": where[0], "split": where[1],
                "min_value": least, "max_value": most,
                "strict_min": rule.at_least and not rule.inclusive,
                "strict_max": not rule.at_least and not rule.inclusive,
            },
            "meta": {"rule": rule.title, "text": rule.text, "level": rule.level},
            "severity": "critical" if rule.level == "fail" else "warning",
        },
        "result": {
            "observed_value": figure.value if figure else None,
            "details": {
                "verdict": str(check.verdict),
                "ci_low": figure.low if figure else None,
                "ci_high": figure.high if figure else None,
                "support": figure.support if figure else None,
                "status": figure.status if figure else None,
                "p_value": check.p, "p_adjusted": check.p_adjusted,
                "rows_to_settle": check.rows, "note": check.note,
                "evidence": night.evidence if night else None,
                "new_rows": night.new if night else None,
            },
        },
        "meta": {}
        if waiver is None
        else {
            "waiver": {
                "owner": waiver.owner, "reason": waiver.reason, "until": waiver.until.isoformat()
            }
        },
        "exception_info": {
            "raised_exception": False, "exception_message": None, "exception_traceback": None
        },
    }  # fmt: skip


def _plain(value: Any) -> Any:
    """Return a value as JSON has it: no NaN, and texts as people may read them."""
    if isinstance(value, Mapping):
        return {str(k): _plain(v) for k, v in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(one) for one in value]
    if isinstance(value, str):
        return readable(value)
    return None if isinstance(value, float) and not math.isfinite(value) else value


def as_junit(judgement: Judgement, about: Mapping[str, Any], at: dt.datetime) -> str:
    """Return a judgement as JUnit's XML, a test per check.

    A check that fails the gate is a failure, one of something that isn't there an error, and
    what doesn't count is skipped.

    Parameters
    ----------
    judgement, about, at
        As for :func:`as_json`.
    """
    kinds = [_junit_kind(c, judgement) for c in judgement.checks]
    counts = {
        "tests": str(len(kinds)), "failures": str(kinds.count("failure")),
        "errors": str(kinds.count("error")), "skipped": str(kinds.count("skipped")),
    }  # fmt: skip
    root = ElementTree.Element("testsuites", {"name": "slice-engine", **counts})
    suite = ElementTree.SubElement(
        root, "testsuite",
        {"name": "gate", **counts, "time": "0", "timestamp": at.isoformat(timespec="seconds")},
    )  # fmt: skip
    properties = ElementTree.SubElement(suite, "properties")
    for name, value in about.items():
        ElementTree.SubElement(properties, "property", {"name": name, "value": _xml(str(value))})
    for check, kind in zip(judgement.checks, kinds, strict=True):
        where = f"{check.slice}, model {check.model}, split {split_name(check.split)}"
        case = ElementTree.SubElement(
            suite, "testcase",
            {"classname": _xml(check.rule.title), "name": _xml(where), "time": "0"},
        )  # fmt: skip
        if kind:
            text = _xml(f"{verdict_text(check)}: {_failure_text(check)}")
            ElementTree.SubElement(case, kind, {"message": text, "type": str(check.verdict)})
    ElementTree.indent(root)
    return '<?xml version="1.0" encoding="UTF-8"?>\n' + ElementTree.tostring(root, "unicode") + "\n"


def _junit_kind(check: Check, judgement: Judgement) -> str:
    if check.verdict is Verdict.PASS:
        return ""
    if not _is_bad(check, judgement):
        return "skipped"
    return "error" if check.verdict is Verdict.MISSING else "failure"


def _failure_text(check: Check) -> str:
    parts = [f"{check.rule.text}, found {value_text(check.figure)}"] if check.figure else []
    return "; ".join([*parts, *filter(None, [why(check)])])


def _xml(text: str) -> str:
    """Return a text without characters that XML can't hold, not even escaped."""
    return _NO_XML.sub("", readable(text))


def as_markdown(judgement: Judgement, about: Mapping[str, Any]) -> str:
    """Return a judgement for a pull request: a sentence, and a table of what doesn't pass.

    Parameters
    ----------
    judgement, about
        As for :func:`as_json`.
    """
    return "\n".join(_markdown(judgement, about)) + "\n"


def _markdown(judgement: Judgement, about: Mapping[str, Any]) -> Iterator[str]:
    yield f"### {sentence(judgement)}"
    yield ""
    for section in sections(judgement):
        yield f"**{section.title}**"
        yield ""
        yield f"| {' | '.join(section.columns)} |"
        yield f"| {' | '.join('---' for _ in section.columns)} |"
        for row in section.rows:
            yield f"| {' | '.join(map(_markdown_cell, row))} |"
        yield ""
    for note in judgement.notes:
        yield f"- {_code(note)}"
    facts = ", ".join(f"{name} {_code(str(value))}" for name, value in about.items())
    yield f"<sub>{facts}</sub>"


def _markdown_cell(value: Any) -> str:
    if value is None:
        return "-"
    return f"{value:,}" if isinstance(value, int) else _code(value)


def _code(text: str) -> str:
    """Return a text as code, in which nobody is mentioned and nothing is markup.

    Examples
    --------
    >>> _code("a|b<i>@ann")
    '<code>a&#124;b&#60;i&#62;&#64;ann</code>'
    """
    shown = re.sub(r"\s+", " ", readable(text))
    if re.fullmatch(r"[A-Za-z0-9 ]+|[-+0-9., e]+", shown):
        return shown
    return f"<code>{re.sub(r'[^A-Za-z0-9 ]', _entity, shown)}</code>"


def _entity(match: re.Match[str]) -> str:
    return f"&#{ord(match[0])};"


def writers(
    judgement: Judgement, about: Mapping[str, Any], at: dt.datetime
) -> Sequence[tuple[str, str]]:
    """Return each format's name and text."""
    return (
        ("json", as_json(judgement, about, at)), ("junit", as_junit(judgement, about, at)),
        ("markdown", as_markdown(judgement, about)),
    )  # fmt: skip
