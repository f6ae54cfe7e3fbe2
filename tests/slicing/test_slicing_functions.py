"""Decorators, call shapes and forms of slicing functions and preprocessors."""

from __future__ import annotations

import functools
import operator
import re
from types import SimpleNamespace
from typing import Any

import pandas as pd
import pytest

from engine import (
    PandasSFApplier,
    Preprocessor,
    SlicingFunction,
    preprocessor,
    slicing_function,
    where,
)
from engine.errors import SliceError
from engine.slicing.discovery import load_slices
from engine.slicing.fingerprint.identity import fingerprint
from engine.slicing.functions import series_parameters
from engine.slicing.slices import SliceKind


def longer(x: Any, least: int = 3) -> bool:
    """Long enough.

    More on it.
    """
    return len(x.text) > least


def text(value: Any) -> SimpleNamespace:
    return SimpleNamespace(text=value)


def test_the_decorator_takes_its_name_from_the_function_or_is_given_one():
    assert slicing_function()(longer).name == "longer"
    assert slicing_function("other")(longer).name == "other"
    sf = slicing_function(name="more", resources={"least": 1}, pre=None)(longer)
    assert (sf.name, sf.resources, sf.pre) == ("more", {"least": 1}, ())
    assert sf(text("ab")) is True


def test_positional_arguments_are_name_f_resources_pre():
    @preprocessor()
    def upper(x):
        x.text = x.text.upper()
        return x

    sf = SlicingFunction("a", lambda x, word: word in x.text, {"word": "AB"}, [upper])
    assert sf(text("ab")) is True
    assert repr(sf) == "SlicingFunction a (row)"
    assert repr(upper) == "Preprocessor upper"


def test_a_resources_dict_changed_later_changes_nothing():
    resources = {"least": 1}
    sf = SlicingFunction("a", longer, resources)
    resources["least"] = 100
    assert sf(text("ab")) is True


@pytest.mark.parametrize(
    ("decorator", "message"),
    [
        (
            slicing_function,
            "@slicing_function on longer needs parentheses: write @slicing_function()",
        ),
        (preprocessor, "@preprocessor on longer needs parentheses: write @preprocessor()"),
    ],
)
def test_a_decorator_without_parentheses(decorator, message):
    with pytest.raises(SliceError, match=f"^{re.escape(message)}$") as caught:
        decorator(longer)
    assert isinstance(caught.value, ValueError)


def no_row():
    return None


def series(text: pd.Series) -> pd.Series:
    return text.str.len() > 3


def series_with_least(text: pd.Series, least: int = 3) -> Any:
    return text.str.len() > least


def series_of_text(text: pd.Series[str]) -> Any:
    return text.str.len() > 3


def anything(*args, **kwargs):
    return longer(*args, **kwargs)


class Words:
    def __init__(self, least: int) -> None:
        self.least = least

    def __call__(self, x: Any) -> bool:
        return len(x.text) > self.least

    def method(self, x: Any) -> bool:
        return self(x)


@pytest.mark.parametrize(
    ("f", "resources", "kind"),
    [
        (longer, {}, "row"),
        (longer, {"least": 2}, "row"),
        (lambda x: True, {}, "row"),
        (anything, {}, "row"),
        (functools.partial(longer, least=1), {}, "row"),
        (functools.wraps(longer)(anything), {}, "row"),
        (Words(3), {}, "row"),
        (Words(3).method, {}, "row"),
        (operator.attrgetter("flag"), {}, "row"),
        (bool, {}, "row"),
        (series, {}, "pandas"),
        (series_with_least, {"least": 5}, "pandas"),
        (series_of_text, {}, "pandas"),
        (no_row, {}, "column"),
        (lambda column="text": column, {}, "column"),
        (lambda least: least, {"least": 3}, "column"),
    ],
)
def test_the_form_is_told_from_the_signature(f, resources, kind):
    assert SlicingFunction("a", f, resources).kind is SliceKind(kind)


def test_a_column_function_is_not_called_when_it_is_made():
    calls = []
    slicing_function()(lambda: calls.append(1))
    assert calls == []


def test_series_parameters_are_columns():
    assert series_parameters(lambda x: x, {}) == ()
    assert series_parameters(series_with_least, {"least": 3}) == ("text",)


def test_description_is_the_docstrings_first_line_the_predicate_or_given():
    assert slicing_function()(longer).description == "Long enough."
    assert slicing_function(description="mine")(longer).description == "mine"
    assert SlicingFunction("a", lambda x: True).description == ""
    assert where("a", "n > 1").description == "n > 1"
    assert where("a", "n > 1", description="Many").description == "Many"


def test_a_predicate():
    sf = where("Short one", "length(text) < 20", id="short")
    assert (sf.id, sf.sql, sf.kind) == ("short", "length(text) < 20", SliceKind.SQL)
    with pytest.raises(
        SliceError, match=r"^slice 'Short one': a SQL predicate runs in Spark only$"
    ):
        sf(text("a"))


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({}, "slice 'a': give either a function or a SQL predicate"),
        ({"f": longer, "sql": "x > 1"}, "slice 'a': give either a function or a SQL predicate"),
        (
            {"f": series, "pre": [Preprocessor("p", longer)]},
            "slice 'a': preprocessors go with row functions, this is a pandas one",
        ),
        (
            {"sql": "x > 1", "pre": [Preprocessor("p", longer)]},
            "slice 'a': preprocessors go with row functions, this is a sql one",
        ),
    ],
)
def test_what_cannot_be_a_slice(arguments, message):
    with pytest.raises(SliceError, match=f"^{re.escape(message)}$") as caught:
        SlicingFunction("a", **arguments)
    assert isinstance(caught.value, ValueError)


@preprocessor()
def with_words(x):
    x.words = x.text.split()
    return x


@preprocessor(pre=[with_words], memoize=True)
def with_count(x):
    x.count = len(x.words)
    return x


def test_a_preprocessor_called_directly_works_on_a_copy():
    x = text("a b")
    assert with_count(x).count == 2
    assert x == text("a b")


def test_preprocessors_run_in_order_before_the_function():
    sf = SlicingFunction("two", lambda x: x.count == 2, pre=[with_count])
    assert [p.name for p in sf.chain] == ["with_words", "with_count"]
    assert sf(text("a b")) is True


def test_a_preprocessor_that_forgets_to_return_its_row():
    nothing = Preprocessor("nothing", lambda x: None)
    message = "preprocessor 'nothing' returned None; it must return the row"
    with pytest.raises(SliceError, match=f"^{message}$"):
        nothing(text("a"))


def test_the_preprocessor_decorators_arguments():
    p = preprocessor("named", [with_words], True, len)(longer)
    assert (p.name, p.pre, p.memoize, p.memoize_key) == ("named", (with_words,), True, len)
    assert preprocessor()(longer).memoize is False


def test_a_file_that_was_edited_is_loaded_again_in_the_same_process(tmp_path):
    """As in a notebook, and within one second and with as many letters, too."""
    file, texts = tmp_path / "edited_slices.py", []
    for length in (3, 5, 3):
        file.write_text(
            "from engine import slicing_function\n\n\n"
            f"@slicing_function()\ndef long(x):\n    return len(x.text) > {length}\n"
        )
        (long,) = load_slices(str(file))
        assert long(SimpleNamespace(text="1234")) is (length == 3)
        masks = PandasSFApplier([long]).apply(pd.DataFrame({"text": ["1234"]}), progress_bar=False)
        texts.append((fingerprint(long), masks["long"].tolist()))
    assert texts[0] == texts[2] != texts[1]
    assert load_slices(str(file))[0] is long
