"""What every public call says of an argument that it can't take: all arguments, all wrong values.

Nothing here starts Spark: a table of Spark's is stood in for by one that has a schema and fails a
test which asks it for anything else.
"""

from __future__ import annotations

import functools
import inspect
import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest
from pyspark.sql import DataFrame
from pyspark.sql.types import StructType

import engine
from engine import (
    Confidence,
    Evaluation,
    MaskPlan,
    Overlap,
    PandasSFApplier,
    Preprocessor,
    Scorer,
    SFApplier,
    Signatures,
    SlicingFunction,
    SparkSFApplier,
    by,
    compile_slices,
    cross,
    evaluate,
    findings,
    lookup,
    metric,
    open_session,
    overlap,
    preds_to_probs,
    preprocessor,
    probs_to_preds,
    profile,
    signatures,
    slice_dataframe,
    slicing_function,
    trend,
    where,
)
from engine.errors import EngineError
from engine.metrics.catalog import parse_metric
from engine.metrics.in_spark import SparkRows
from engine.metrics.scan.form import EvaluationSpec
from engine.slicing.discovery import load_slices
from tests.metrics.scanned import scan_of

NAN = math.nan


class Table(DataFrame):
    """A table of Spark's that there is no Spark behind."""

    def __new__(cls, *_: Any) -> Table:
        return object.__new__(cls)

    def __init__(self, schema: str) -> None:
        self._schema = _parsed(schema)

    @property
    def schema(self) -> StructType:
        return self._schema

    @property
    def columns(self) -> list[str]:
        return self._schema.names

    def drop(self, *names: str) -> Table:  # type: ignore[override]
        return Table(", ".join(f"{n} bigint" for n in self.columns if n not in names))

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__") or name in ("itertuples", "column_names", "ndim"):
            raise AttributeError(name)
        raise AssertionError(f"Spark was asked for {name}")

    def __repr__(self) -> str:
        return "a table"


def _parsed(text: str) -> StructType:
    from pyspark.sql.types import BooleanType, DoubleType, LongType, StringType

    kinds = {"bigint": LongType(), "string": StringType(), "double": DoubleType(),
             "boolean": BooleanType()}  # fmt: skip
    made = StructType()
    for part in text.split(", "):
        name, kind = part.split()
        marked = {"slice": {"name": name, "fingerprint": ""}} if name.startswith("in_") else None
        made = made.add(name, kinds[kind], True, marked)
    return made


MASKS = Table("id bigint, sex string, part string, price double, in_a boolean, in_b boolean")
PREDICTIONS = Table("id bigint, label bigint, pred bigint, prob double")
FRAME = pd.DataFrame({"id": [1, 2], "x": [0.5, 1.5]})
ARRAY = np.array([0, 1])
SF = SlicingFunction("long", lambda x: x.id > 1)
# Whatever an argument may not be; each says which of these it does take.
WRONG: dict[str, Any] = {
    "none": None,
    "empty list": [],
    "empty text": "",
    "blank": "  ",
    "zero": 0,
    "minus five": -5,
    "half": 0.5,
    "ninety-five": 95,
    "nan": NAN,
    "infinite": math.inf,
    "true": True,
    "a text": "zz",
    "texts": ["zz"],
    "a letter and none": ["a", None],
    "numbers": [1, 2],
    "a dict": {},
    "a wrong dict": {"zz": "yy"},
    "bytes": b"id",
    "an object": object(),
    "a function": len,
    "a class": int,
    "a pandas table": FRAME,
    "an arrow table": pa.table({"id": [1]}),
    "a series": FRAME["x"],
    "an array": ARRAY,
    "a square": np.eye(2),
    "objects": np.array([None, 1], object),
    "a spark table": MASKS,
    "a slicing function": SF,
    "a list of functions": [len],
    "nested": [[SF]],
}


def no(*names: str) -> dict[str, Any]:
    """Return all wrong values but those named, which an argument takes."""
    assert set(names) <= set(WRONG)
    return {name: value for name, value in WRONG.items() if name not in names}


@dataclass
class Call:
    """A public call: what it is given when all is well, and per argument what it may not be."""

    of: Callable[..., Any]
    given: Mapping[str, Any]
    wrong: Mapping[str, Mapping[str, Any]]
    positional: tuple[str, ...] = field(default=())

    def __call__(self, argument: str, value: Any) -> Any:
        given = {**self.given, argument: value}
        first = [given.pop(name) for name in self.positional]
        return self.of(*first, **given)


LISTS = ("empty list",)
TEXT = no("a text")
OPTIONAL_TEXT = no("a text", "none")
FLAG = no("true")
EVALUATED = {"masks": MASKS, "predictions": PREDICTIONS, "key": "id"}


@functools.cache
def evaluation() -> Evaluation:
    spec = EvaluationSpec(
        metrics=[parse_metric(m) for m in ("accuracy", "ece@bins=5")], slice_ids=["a"],
        classes=[0, 1], positive=1,
    )  # fmt: skip
    rows = pd.DataFrame({"a": [1, 0, 1, 0], "hash": 0})
    model = pd.DataFrame(
        {"label": [0, 1, 1, 0], "pred": [0, 1, 0, 0], "score": [0.1, 0.9, 0.4, 0.3]}
    )
    from engine.metrics.inference.uncertainty import with_uncertainty
    from tests.metrics.scanned import figures

    found = scan_of(rows, {"model": model}, spec)
    table = with_uncertainty(figures(found, spec), found, spec, Confidence(min_support=0))
    return Evaluation(
        table.reset_index(drop=True),
        spec,
        Confidence(),
        found,
        SparkRows(MASKS, spec, ["id"]),
        ("id",),
    )


SIGNED = Signatures(
    ("a",), np.array([[1], [0]]), np.zeros((2, 1), np.int64), {"a": 0},
    pd.DataFrame({"split": "all", "label": [0, 1], "pred": [0, 1]}), np.array([3, 4]), None,
    (0, 1), 1, 2,
)  # fmt: skip
SHARED = Overlap(("a", "b"), 9, np.array([[4, 3], [3, 3]]), 5)
PLAN = compile_slices([SF], pa.schema({"id": pa.int64()}))
MASKED = np.rec.fromarrays([[1, 0], [0, 1]], names="a,b")
SCORED = {"golds": ARRAY, "preds": ARRAY, "probs": np.eye(2)}
TREND = {
    "run_id": ["r"], "run_ts": [1], "model_id": ["m"], "split": ["t"], "slice": ["a"],
    "metric": ["f1"], "value": [0.5], "ci_low": [0.4], "ci_high": [0.6], "support": [9],
    "slice_fingerprint": ["f"],
}  # fmt: skip
ROWS_OF = {"slice_id": TEXT | {"near": "b"}, "n": no("ninety-five"),
           "columns": no("empty list"), "split": no("none")}  # fmt: skip

CALLS = [
    Call(
        evaluate,
        EVALUATED,
        {
            "masks": no("a spark table"),
            "predictions": no("none"),
            "key": WRONG | {"missing": "idd", "a double": "price"},
            "metrics": WRONG
            | {
                "one": "accuracy",
                "unknown": ["acuracy"],
                "parameter": ["recall@threshold=2"],
                "mixed": ["accuracy", len],
                "no column": ["mean@column=zz"],
                "of text": ["mean@column=sex"],
            },
            "slices": no("empty list") | {"text column": ["sex"], "unknown": ["in_c"]},
            "classes": no("numbers", "an array", "a series")
            | {"one": [1], "twice": [1, True], "text": "01"},
            "positive": no("none", "zero", "true"),
            "split": no("none") | {"list": ["part"]},
            "columns": no("none", "a dict")
            | {"no column": {"pred": "yhat"}, "none": {"pred": None}},
            "confidence": no("none") | {"level": 0.9},
            "sure": no("none") | {"level": 0.9},
            "n_replicates": no("zero", "ninety-five"),
            "cluster": no("none") | {"list": ["part"]},
            "seed": no("zero", "minus five", "ninety-five"),
            "allow_missing": FLAG,
        },
    ),
    Call(
        overlap,
        {"masks": MASKS},
        {"masks": no("a spark table"), "ids": no("none", *LISTS) | {"text": ["sex"]}},
    ),
    Call(
        signatures,
        {"df": MASKS},
        {
            "df": no("a spark table"),
            "ids": no("none", *LISTS) | {"text": ["sex"]},
            **dict.fromkeys(("label", "pred", "split", "weight"), no("none")),
            "classes": no("numbers", "an array", "a series"),
            "positive": no("none", "zero", "true"),
            "limit": no("ninety-five"),
        },
    ),
    Call(
        Confidence,
        {},
        {
            "level": no("half"),
            "min_support": no("zero", "ninety-five"),
            "budget_mb": no("zero", "ninety-five"),
            "correction": WRONG | {"near": "BH"},
            "clustered": FLAG,
        },
    ),
    Call(
        lambda **given: metric(**given)(lambda *_: 0.0),
        {"name": "f"},
        {
            "name": no("none", "a text"),
            "needs": WRONG | {"near": "probs"},
            "better": no("empty text") | {"near": "higher"},
        },
    ),
    Call(
        metric,
        {},
        {"given": no("none", "a function", "a spark table", "a slicing function")},
        ("given",),
    ),
    Call(
        lambda **given: evaluation().worst(**given),
        {},
        {
            "n": no("ninety-five"),
            "metric": no("none") | {"not evaluated": "recall"},
            "model": no("none"),
            "split": no("none"),
        },
    ),
    *(
        Call(
            getattr(evaluation(), name),
            {"first": "model", "second": "model"},
            {"first": WRONG, "second": WRONG},
        )
        for name in ("compare", "flips")
    ),
    Call(lambda **given: evaluation().difference(**given), {}, {"to": WRONG}),
    Call(lambda **given: evaluation().ratio(**given), {}, {"to": WRONG}),
    Call(
        lambda **given: evaluation().rows_of(**given),
        {"wanted": [(["model"], "a", 3)]},
        {"wanted": no("empty list"), "columns": ROWS_OF["columns"], "split": ROWS_OF["split"]},
    ),
    Call(lambda **given: evaluation().worst_rows(**given), {}, {**ROWS_OF, "model": no("none")}),
    Call(
        lambda **given: evaluation().flipped_rows(**given),
        {"first": "model", "second": "model"},
        {**ROWS_OF, "first": WRONG, "second": WRONG},
    ),
    Call(
        lambda **given: evaluation().confusion(**given),
        {},
        {"slice_id": WRONG, "metric": no("none") | {"not evaluated": "recall"}},
    ),
    Call(
        lambda **given: evaluation().calibration(**given),
        {"metric": "ece@bins=5"},
        {"slice_id": WRONG, "metric": no("none") | {"not evaluated": "ece"}},
    ),
    Call(lambda **given: evaluation().to_delta(**given), {}, {"path": TEXT}),
    Call(
        Scorer,
        {},
        {
            "metrics": no("none", "empty list"),
            "custom_metric_funcs": no("none", "a dict") | {"no function": {"f": 3}},
            "abstain_label": no("none", "zero", "minus five", "ninety-five"),
        },
    ),
    Call(
        Scorer(["accuracy", "log_loss"]).score,
        SCORED,
        {
            "golds": no("numbers", "an array", "objects")
            | {"none among them": np.array([0, None], object), "infinite": [0, math.inf]},
            "preds": no("numbers", "an array") | {"three": [1, 0, 1]},
            "probs": no("a square") | {"two": np.array([[0.5, 2.0], [1, 0]])},
            "weights": no("none", "numbers", "an array", "a series")
            | {"minus one": [1, -1], "nan": [1, NAN]},
        },
    ),
    Call(
        Scorer(["accuracy", "log_loss"]).score_slices,
        {"S": MASKED, **SCORED},
        {
            "S": WRONG,
            "golds": no("numbers", "an array", "objects"),
            "preds": no("numbers", "an array"),
            "probs": no("a square"),
            "as_dataframe": FLAG,
        },
    ),
    Call(
        preds_to_probs,
        {"preds": ARRAY, "num_classes": 2},
        {"preds": no("an array", "empty list"), "num_classes": no("ninety-five")},
    ),
    Call(
        probs_to_preds,
        {"probs": np.eye(2)},
        {
            "probs": no("a square", "a pandas table"),
            "tie_break_policy": WRONG | {"near": "abstein"},
            "tol": no("zero", "half", "ninety-five"),
        },
    ),
    Call(
        trend,
        {"metrics": pd.DataFrame(TREND)},
        {
            "metrics": WRONG,
            **dict.fromkeys(("slice_id", "metric", "model_id", "split"), no("none")),
        },
    ),
    Call(
        findings,
        {"figures": evaluation().table},
        {
            "figures": WRONG,
            "overlap": no("none"),
            "n": no("ninety-five"),
            "min_support": no("zero", "ninety-five"),
            "level": no("zero", "half"),
            "better": no("a function", "a class", "a slicing function"),
        },
    ),
    Call(
        lambda **given: evaluation().findings(**given),
        {},
        {
            "n": no("ninety-five"),
            "model": no("none"),
            "split": no("none"),
            "min_support": no("zero", "ninety-five"),
        },
    ),
    Call(SHARED.near_duplicates, {}, {"at_least": no("zero", "half")}),
    Call(SHARED.contained, {}, {"at_least": no("zero", "half")}),
    Call(SIGNED.rows_in, {"expr": "a"}, {"expr": WRONG | {"cut": "a &"}, "split": no("none")}),
    Call(SIGNED.confusion, {"expr": "a"}, {"expr": WRONG, "split": no("none")}),
    Call(
        SIGNED.figures,
        {"expr": "a"},
        {"expr": WRONG, "metrics": WRONG | {"of scores": ["roc_auc"]}, "split": no("none")},
    ),
    Call(
        SlicingFunction,
        {"name": "s", "f": lambda x: True},
        {
            "name": TEXT,
            "f": no("a function", "a class", "a slicing function", "a spark table"),
            "resources": no("none", "a dict", "a wrong dict"),
            "pre": no("none", "empty list"),
            "id": OPTIONAL_TEXT,
            "description": no("none", "empty text", "blank", "a text"),
            "pure": FLAG,
            "version": no(
                "none", "zero", "minus five", "ninety-five", "empty text", "blank", "a text"
            ),
        },
    ),
    Call(
        lambda **given: slicing_function(**given)(lambda x: True),
        {},
        {
            "name": OPTIONAL_TEXT,
            "resources": no("none", "a dict", "a wrong dict"),
            "pre": no("none", "empty list"),
            "id": OPTIONAL_TEXT,
            "pure": FLAG,
        },
    ),
    Call(
        slicing_function(),
        {},
        {"f": no("a function", "a class", "a slicing function", "a spark table")},
    ),
    Call(
        lambda **given: preprocessor(**given)(lambda x: x),
        {},
        {
            "name": OPTIONAL_TEXT,
            "pre": no("none", "empty list"),
            "memoize": FLAG,
            "memoize_key": no(
                "none", "a function", "a class", "a slicing function", "a spark table"
            ),
            "batch": FLAG,
        },
    ),
    Call(
        Preprocessor,
        {"name": "p", "f": lambda x: x},
        {
            "name": TEXT,
            "f": no("none", "a function", "a class", "a slicing function", "a spark table"),
            "memoize": FLAG,
            "batch": FLAG,
        },
    ),
    Call(
        where,
        {"name": "s", "predicate": "id > 1"},
        {"name": TEXT, "predicate": TEXT, "id": OPTIONAL_TEXT},
    ),
    Call(
        lookup,
        {"name": "s", "column": "c", "keys": [1]},
        {
            "name": TEXT,
            "column": TEXT,
            "keys": no(
                "empty list", "numbers", "texts", "an array", "a letter and none", "objects"
            ),
            "table": no("none"),
            "key_column": OPTIONAL_TEXT,
            "how": WRONG | {"near": "Join"},
            "id": OPTIONAL_TEXT,
        },
    ),
    Call(
        by,
        {"column": "sex", "values": ["F"]},
        {
            "column": no("a text", "blank"),
            "values": no(
                "empty list",
                "numbers",
                "texts",
                "a letter and none",
                "a series",
                "an array",
                "objects",
            ),
            "top": no("ninety-five"),
            "other": FLAG,
        },
    ),
    Call(
        lambda columns, **given: cross(*columns, **given),
        {"columns": ["a", "b"], "values": [("x", 1)]},
        {
            "columns": {"one": ["a"], "numbers": [1, 2], "twice": ["a", "a"]},
            "values": no("empty list", "a pandas table", "a square"),
            "top": no("ninety-five"),
            "other": FLAG,
        },
    ),
    *(
        Call(applier, {}, {"sfs": no("empty list")})
        for applier in (SFApplier, PandasSFApplier, SparkSFApplier)
    ),
    Call(
        PandasSFApplier([SF]).apply,
        {"df": FRAME},
        {
            "df": no("a pandas table", "an arrow table"),
            "progress_bar": FLAG,
            "fault_tolerant": FLAG,
            "return_meta": FLAG,
        },
    ),
    Call(
        SFApplier([SF]).apply,
        {"data_points": []},
        {
            "data_points": {
                k: v
                for k, v in no("empty list").items()
                if not isinstance(v, list)
                and k not in ("a series", "an array", "a square", "objects")
            },
            "progress_bar": FLAG,
            "fault_tolerant": FLAG,
            "return_meta": FLAG,
        },
    ),
    Call(SparkSFApplier([SF]).apply, {}, {"df": no("a spark table")}),
    Call(
        slice_dataframe,
        {"df": FRAME, "slicing_function": SF},
        {
            "df": no("a pandas table", "an arrow table"),
            "slicing_function": no("a slicing function"),
        },
    ),
    Call(
        compile_slices,
        {"sfs": [SF], "schema": pa.schema({"id": pa.int64()})},
        {
            "sfs": no("empty list"),
            "schema": no("a pandas table", "an arrow table"),
            "reserved": no("none", "a dict", "a wrong dict"),
            "tier": no("none"),
            "tiers": no("none", "a dict"),
        },
    ),
    Call(
        profile,
        {"plan": PLAN, "df": FRAME},
        {
            "plan": no(),
            "df": no("a pandas table", "an arrow table", "a spark table"),
            "rows": no("ninety-five"),
        },
    ),
    Call(
        PLAN.apply,
        {"df": FRAME},
        {
            "df": no("a pandas table", "an arrow table", "a spark table"),
            "keep": no("none", "empty list"),
        },
    ),
    Call(PLAN.coverage, {}, {"df": no("a pandas table", "an arrow table", "a spark table")}),
    Call(
        load_slices,
        {"module": "sfs.spam"},
        {"module": no("a text"), "folders": no("empty list", "texts")},
    ),
    Call(PLAN.only, {}, {"ids": no("empty list")}),
    Call(
        open_session,
        {},
        {
            "app_name": TEXT,
            "conf": no("none", "a dict", "a wrong dict") | {"none": {"a": None}},
            "catalog": FLAG,
        },
    ),
]
ARGUMENTS = [
    pytest.param(call, argument, values, id=f"{i}-{argument}")
    for i, call in enumerate(CALLS)
    for argument, values in call.wrong.items()
]
# What takes no argument that can be wrong, belongs to training, or needs spaCy (test_nlp.py).
OTHERS = {
    "DictDataLoader", "DictDataset", "EngineError", "SliceAwareClassifier", "SlicingClassifier",
    "Trainer", "set_seed", "Evaluation", "Findings", "MaskPlan", "Overlap", "Signatures",
    "SliceTime", "NLPSlicingFunction", "SpacyPreprocessor", "nlp_slicing_function",
}  # fmt: skip


@pytest.mark.parametrize(("call", "argument", "values"), ARGUMENTS)
def test_a_wrong_argument_is_a_sentence(call, argument, values):
    odd = {}
    for name, value in values.items():
        try:
            odd[name] = f"gave {call(argument, value)!r}"
        except EngineError as error:
            text = str(error)
            if " " not in text or " object at 0x" in text or len(text) > 700 or error.__cause__:
                odd[name] = text
        except Exception as error:
            odd[name] = repr(error)
    assert odd == {}


def test_every_public_call_has_its_arguments_here():
    named = {getattr(c.of, "__name__", "") for c in CALLS}
    source = inspect.getsource(inspect.getmodule(test_every_public_call_has_its_arguments_here))
    for name in set(engine.__all__) - OTHERS:
        assert name in named or f"{name}(" in source, name
    methods = [
        (of, name)
        for of in (Evaluation, MaskPlan, Overlap, Signatures, Scorer)
        for name, value in vars(of).items()
        if inspect.isfunction(value) and not name.startswith("_")
        and len(inspect.signature(value).parameters) > 1
    ]  # fmt: skip
    inside = {
        "as_python", "better", "columns_of_spark", "in_workers", "input", "mask_columns",
        "udf_bits", "with_faults", "with_unreadable", "word_columns", "word_names",
    }  # fmt: skip
    for of, name in methods:
        assert name in inside or name in source, (of, name)


def ask(**given: Any) -> Callable[[], Any]:
    return lambda: evaluate(**{**EVALUATED, **given})


SENTENCES = {
    ask(masks={}): "evaluate: masks must be a Spark DataFrame, found {}",
    ask(masks=FRAME, key="n", predictions=3): (
        "evaluate: predictions must be a pandas DataFrame, or a pyarrow Table or RecordBatch, as "
        "masks are, or a dict of them by model, found 3"
    ),
    ask(predictions={"m": pa.table({"id": [1]})}): (
        "evaluate: predictions['m'] must be a Spark DataFrame, found a pyarrow Table; make it one "
        "with spark.createDataFrame(...)"
    ),
    ask(slices=["sex"]): (
        "the mask of slice 'sex' can't be read: the column 'sex' is string; a mask is one BOOLEAN "
        "column (true in, false out, null undecided), or both words of a packed table. To slice "
        "by another column, give slicing functions, as where(...) and by(...) make them"
    ),
    ask(slices=["in_c"]): "the mask table has no slice 'in_c'; did you mean 'in_b'?",
    ask(slices=SF): (
        "evaluate: slices must be a list of slicing functions, or of slices that the table has, "
        "found SlicingFunction long (row); write slices=[long]"
    ),
    ask(slices=[len]): (
        "evaluate: each of slices must be a slicing function, or a slice that the table has, found "
        "the function 'len'; make it one with @slicing_function()"
    ),
    ask(slices=[[SF], SF]): (
        "evaluate: each of slices must be a slicing function, or a slice that the table has, found "
        "[SlicingFunction long (row)]; write [*by(...), other] to put lists together"
    ),
    ask(classes=None): (
        "evaluate: classes must be a list of the label's values, such as [0, 1], found None"
    ),
    ask(classes=[1]): (
        "evaluate: classes must be a list of at least two different values, found [1]"
    ),
    ask(positive=2): "positive=2 is none of the classes [0, 1]",
    ask(metrics=[]): (
        "evaluate: metrics must be a list of metrics, such as ['accuracy', 'f1'], found []"
    ),
    ask(metrics="accuracy"): (
        "evaluate: metrics must be a list of metrics, such as ['accuracy', 'f1'], found "
        "'accuracy'; write metrics=['accuracy']"
    ),
    ask(metrics=["acuracy"]): "unknown metric 'acuracy'; did you mean 'accuracy'?",
    ask(metrics=["accuracy", len]): (
        "evaluate: each of metrics must be a name or made by @metric, found the function 'len'; "
        "make it a metric with @metric"
    ),
    ask(metrics=["mean@column=sex"]): (
        "column 'sex' of the table is string, and must be a number for mean@column=sex: cast it, "
        "or name another one in columns"
    ),
    ask(confidence=0.9): (
        "evaluate: confidence must be a Confidence, found 0.9; write "
        "confidence=Confidence(level=0.95)"
    ),
    ask(sure=Confidence(), confidence=Confidence()): (
        "evaluate: sure must be left out beside confidence, found Confidence(level=0.95, "
        "min_support=30, correction='bh', c..."
    ),
    ask(sure=0.9): (
        "evaluate: sure must be a Confidence, found 0.9; write sure=Confidence(level=0.95)"
    ),
    ask(n_replicates=-5): (
        "evaluate: n_replicates must be a whole number from 0 to 10,000, found -5"
    ),
    ask(key="idd"): "key of the table: there is no column 'idd'; did you mean 'id'?",
    ask(key=[]): "evaluate: key must be a column or a list of columns, found []",
    ask(predictions=Table("id bigint, label bigint, pred bigint, pred bigint")): (
        "2 columns of the table are called 'pred', so it can't be told which one is meant; give "
        "each column a name of its own"
    ),
    ask(masks=Table("id bigint, id bigint, in_a boolean")): (
        "2 columns of the table are called 'id', so it can't be told which one is meant; give "
        "each column a name of its own"
    ),
    ask(split="prt"): "split of the table: there is no column 'prt'; did you mean 'part'?",
    ask(columns={"prd": "pred"}): (
        "columns of predictions of 'model': 'prd' is not a column of prediction tables; did you "
        "mean 'pred'?"
    ),
    lambda: Confidence(level=95): (
        "Confidence: level must be a number from 0 to 1, found 95; write level=0.95 for 95 %"
    ),
    lambda: Confidence(level=1): "Confidence: level must be between 0 and 1, found 1",
    lambda: evaluation().confusion(metric="log_loss"): (
        "metric 'log_loss' has no confusion matrix; of those evaluated accuracy has"
    ),
    lambda: evaluation().confusion(metric="ece@bins=5"): (
        "metric 'ece@bins=5' has no confusion matrix; of those evaluated accuracy has"
    ),
    lambda: evaluation().confusion(metric="f1"): ("metric 'f1' was not evaluated; known: accuracy"),
    lambda: evaluation().confusion(metric="acuracy"): (
        "unknown metric 'acuracy'; did you mean 'accuracy'?"
    ),
    lambda: evaluation().confusion("A"): "the evaluation has no slice 'A'; did you mean 'a'?",
    lambda: evaluation().calibration(metric="f1"): (
        "metric 'f1' has no bins of confidence; of those evaluated ece@bins=5 has"
    ),
    lambda: evaluation().calibration(metric="ece"): (
        "metric 'ece' was not evaluated; known: ece@bins=5"
    ),
    lambda: evaluation().difference(to="Complement"): (
        "the evaluation has no slice 'Complement'; did you mean 'complement'?"
    ),
    lambda: evaluation().better(3): "better: metric must be a metric's name, found 3",
    lambda: SIGNED.rows_in("b"): "the table of signatures has no slice 'b'; known: a",
    lambda: PLAN.only(["lng"]): "the plan has no slice 'lng'; did you mean 'long'?",
    lambda: evaluation().worst(metric="recall"): (
        "metric 'recall' was not evaluated; known: accuracy, ece@bins=5"
    ),
    lambda: evaluation().worst(model="zz"): "model 'zz' was not evaluated; known: model",
    lambda: evaluation().worst_rows(columns="price"): (
        "worst_rows: columns must be a list of columns, found 'price'; write columns=['price']"
    ),
    lambda: profile(3, FRAME): "profile: plan must be what compile_slices returned, found 3",
    lambda: profile(PLAN, FRAME, 0): (
        "profile: rows must be a whole number of at least 1, found 0"
    ),
    lambda: evaluation().rows_of([(["model"] * 3, "a", 3)]): (
        "rows_of: models must be one model or two, found ['model', 'model', 'model']"
    ),
    lambda: overlap(FRAME): (
        "the table has no slice masks; give one that label_slices, MaskPlan.apply or "
        "SparkSFApplier.apply made"
    ),
    lambda: overlap(MASKED, ["c"]): "the mask table has no slice 'c'; known: a, b",
    lambda: signatures(MASKED): (
        "signatures: df must be a Spark DataFrame, found a numpy recarray; make it one with "
        "spark.createDataFrame(...)"
    ),
    lambda: by("sex"): (
        "slice 'sex': give the column's values to slice by: by('sex', df['sex']), say, or "
        "by('sex', ['F', 'M'])"
    ),
    lambda: by("sex", FRAME): (
        "by: values must be a list of the column's values, found a pandas DataFrame"
    ),
    lambda: SlicingFunction("long", "length(text) > 9"): (
        "SlicingFunction: f must be a function, found 'length(text) > 9'; a SQL predicate is given "
        "by where(...)"
    ),
    lambda: lookup("vip", "customer", [1], how="brodcast"): (
        "lookup: how must be one of auto, broadcast, join, found 'brodcast'; did you mean "
        "'broadcast'?"
    ),
    lambda: PandasSFApplier([SF]).apply(MASKS): (
        "the table is of type Table; give a pandas DataFrame, or a pyarrow Table or RecordBatch"
    ),
    lambda: compile_slices([SF], MASKS): (
        "the schema to compile slices for is of type Table; give the schema of a Spark DataFrame, "
        "a pyarrow Schema, a pandas DataFrame, or a pyarrow Table or RecordBatch"
    ),
    lambda: findings(MASKS): (
        "findings: figures must be a pandas DataFrame, found a tests Table; give Evaluation.table"
    ),
    lambda: findings(evaluation().table.drop(columns="effect_low")): (
        "findings: there is no column 'effect_low'; did you mean 'effect'?"
    ),
    lambda: findings(evaluation().table, 0.9): (
        "findings: overlap must be an Overlap, or None, found 0.9"
    ),
    lambda: findings(evaluation().table, better="high"): (
        "findings: better must be a function of a metric's name, found 'high'"
    ),
    lambda: trend(MASKS): (
        "trend: metrics must be a pandas DataFrame, found a tests Table; give metrics.toPandas()"
    ),
}


@pytest.mark.parametrize(("call", "sentence"), SENTENCES.items())
def test_the_sentence_of_a_wrong_argument(call, sentence):
    with pytest.raises(EngineError) as caught:
        call()
    assert str(caught.value) == sentence


def test_an_evaluation_is_shown_in_a_line():
    shown = "slices: a; metrics: accuracy, ece@bins=5; 4 figures, in .table)"
    assert repr(evaluation()) == f"Evaluation(models: model; {shown}"
    many = replace(evaluation().spec, slice_ids=[f"s{i}" for i in range(900)], split="part")
    found = replace(evaluation(), spec=many)
    assert "splits: all; slices: s0, s1, s2, s3, s4 and 895 more; metrics" in repr(found)
    assert len(repr(found)) < 200
    # By default the first metric that has any.
    assert len(evaluation().calibration()) == 5


def test_metrics_without_cells_are_told_what_to_evaluate():
    losses = replace(evaluation().spec, metrics=[parse_metric("log_loss")])
    found = replace(evaluation(), spec=losses)
    told = {
        found.confusion: "no metric evaluated has any confusion matrix; evaluate one "
        "that has, such as 'accuracy'",
        lambda: found.calibration(metric="log_loss"): "metric 'log_loss' has no bins of "
        "confidence; evaluate one that has, such as 'ece'",
    }
    for call, sentence in told.items():
        with pytest.raises(EngineError) as caught:
            call()
        assert str(caught.value) == sentence
