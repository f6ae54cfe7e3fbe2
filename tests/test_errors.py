"""Every error's full sentence, and that no error goes without one."""

from __future__ import annotations

import ast
import re
from pathlib import Path

import pandas as pd
import pytest
from pyspark.sql.types import LongType, StructField, StructType

from engine import compile_slices, slicing_function, where
from engine import errors as e
from engine.arrow.numbers import unreadable_type
from engine.classifier.network import no_row_weights
from engine.classifier.rules import wrong_argument
from engine.classifier.settings import trainer_setting, unusable_monitor, wrong_base, wrong_features
from engine.classifier.tensorfile import damaged, other_format
from engine.classifier.train import not_shared
from engine.errors import (
    ArgumentError,
    CheckpointMissingError,
    ConfigError,
    MeanwhileError,
    SliceFaultError,
    duplicate_column,
    missing_column,
    no_shares,
    no_such_mask,
    not_finite,
    unknown_class,
)
from engine.hashing import not_a_key
from engine.masks.checks import duplicate_key, no_rows, null_key
from engine.masks.frames import no_masks, unreadable_mask
from engine.metrics.arrays import unequal_lengths, wrong_shape
from engine.metrics.catalog import not_binary, unknown_metric
from engine.metrics.custom import no_metric
from engine.metrics.evaluation import no_cells
from engine.metrics.explore.signatures import no_confusion, not_from_signatures
from engine.metrics.predictions import check_key_names, wrong_type
from engine.metrics.scan.checks import wrong_value
from engine.metrics.scan.joined import other_key_type
from engine.predicates.predicate import names_a_day, too_nested
from engine.project.checkpoint_scores import mixed_checkpoints
from engine.project.demo_data import unreadable_folder
from engine.project.labelling import too_many_faults
from engine.project.sample import check_sample_names
from engine.project.stale import changed_source
from engine.run.faults import too_deep, wrong_predicate
from engine.scoring import explained
from engine.slicing.algebra import unreadable
from engine.slicing.by_value import not_by_value
from engine.slicing.compositions import composed_in_circles
from engine.slicing.functions import not_a_row, without_parentheses
from engine.slicing.ids import same_id, unusable_id
from engine.storage.tables import no_choice, no_table, path_as_name

ROOT = Path(__file__).parents[1]

# Of the functions that return an error; a sentence beside its ``raise`` is tested by raising it.
SENTENCES = [
    (
        duplicate_column("a", 2),
        "2 columns of the table are called 'a', so it can't be told which one is meant; give each "
        "column a name of its own",
    ),
    (
        no_confusion(["label", "prediction"]),
        "these signatures hold no label and prediction, so they have no confusion: make them with "
        "label=..., prediction=...",
    ),
    (
        not_from_signatures("roc_auc", "it ranks rows"),
        "metric 'roc_auc' can't be computed from signatures: it ranks rows; evaluate() can",
    ),
    (
        names_a_day(" Today"),
        "casts 'today', which means another time each day; write current_date()",
    ),
    (
        too_nested(),
        "is nested too deeply; write it with fewer brackets in brackets",
    ),
    (
        wrong_predicate("s", "n +", "is not SQL: syntax error at or near end of input"),
        "slice 's': the predicate 'n +' is not SQL: syntax error at or near end of input",
    ),
    (
        too_deep("s"),
        "slice 's' is nested too deeply for Spark, whose stack is used up; write it with fewer "
        "parentheses, as a Python function, or give the driver a larger stack "
        "(spark.driver.extraJavaOptions: -Xss16m)",
    ),
    (
        other_key_type("id", "int", "m", "string"),
        "key column 'id' is int in the masks and string in the predictions of 'm': cast one of "
        "them",
    ),
    (
        duplicate_key(
            "rows", ["ds", "id"], 1200, ["ds='a', id=1 (2 rows)", "ds='a', id=2 (3 rows)"]
        ),
        "the key (ds, id) of rows is not unique: 1,200 keys name more than one row, the first"
        " are ds='a', id=1 (2 rows); ds='a', id=2 (3 rows)",
    ),
    (
        wrong_base("it has no kind"),
        "base architecture: it has no kind",
    ),
    (
        wrong_features("it has no kind"),
        "features: it has no kind",
    ),
    (
        ArgumentError("evaluate", "sure", "a Confidence", 0.9, "; write sure=Confidence()"),
        "evaluate: sure must be a Confidence, found 0.9; write sure=Confidence()",
    ),
    (
        unreadable_mask("a", "there are 2 columns 'a'"),
        "the mask of slice 'a' can't be read: there are 2 columns 'a'; a mask is one BOOLEAN "
        "column (true in, false out, null undecided), or both words of a packed table. To slice "
        "by another column, give slicing functions, as where(...) and by(...) make them",
    ),
    (
        no_masks(["a"], "ids"),
        "the table has no slice masks; give one that label_slices, MaskPlan.apply or "
        "SparkSFApplier.apply made. Its BOOLEAN columns (a) are not marked as masks, which pandas "
        "and casts undo: name those that are, ids=['a']",
    ),
    (
        wrong_type("t", "prob", "string", "a number"),
        "column 'prob' of t is string, and must be a number: cast it, or name another one in "
        "columns",
    ),
    (
        without_parentheses("slicing_function", len),
        "@slicing_function on len needs parentheses: write @slicing_function()",
    ),
    (
        wrong_value("t", "weight", 2, "is negative", ["id=1", "id=2"]),
        "column 'weight' of t is negative on 2 rows, the first are id=1; id=2; correct them, or "
        "make them null",
    ),
    (
        no_metric("f", "the class has no function 'merge'"),
        "metric 'f': the class has no function 'merge'; @metric takes a function of (y_true, "
        "y_pred, y_prob, weight), or a class with state, merge and compute",
    ),
    (
        not_a_row("p"),
        "preprocessor 'p' returned None; it must return the row",
    ),
    (
        not_a_row("p", {"text": "a"}),
        "preprocessor 'p' returned {'text': 'a'}; it must return the row",
    ),
    (
        unusable_id("S", "base", "is reserved"),
        "slice 'S': the id 'base' is reserved; give the slice another id",
    ),
    (
        same_id("a", "A!", "a?"),
        "slices 'A!' and 'a?' have the same id 'a' (ids are compared ignoring case); give one"
        " of them another id",
    ),
    (
        no_such_mask("shrt", ["short", "long"]),
        "the mask table has no slice 'shrt'; did you mean 'short'?",
    ),
    (
        unreadable("a & & b", 4, "a slice id is missing before '&'"),
        "the composition 'a & & b' can't be read: a slice id is missing before '&' at character "
        "5; it is made of slice ids, &, |, ~ and parentheses",
    ),
    (
        composed_in_circles(["a", "b", "a"]),
        "slices are composed of each other: a -> b -> a; take one of them out of the circle",
    ),
    (
        composed_in_circles(["a", "a"]),
        "slice 'a' is composed of itself; take it out of its own text",
    ),
    (
        not_by_value("tags", "array<string>"),
        "column 'tags' can't be sliced by value: it is of type array<string>; use text, a boolean, "
        "a whole number, a date or a float, or cast it in the source",
    ),
    (
        not_a_key("id", "double"),
        "key column 'id' is double, which can't be a key: use a string, integer, boolean, "
        "date, timestamp or DECIMAL(p,0), or cast it in the source",
    ),
    (
        unreadable_folder("data", "there is no such folder"),
        "can't read the YouTube comments in 'data': there is no such folder; it must hold "
        "Youtube01-Psy.csv, Youtube02-KatyPerry.csv, Youtube03-LMFAO.csv, Youtube04-Eminem.csv, "
        "Youtube05-Shakira.csv, each with the columns COMMENT_ID, AUTHOR, DATE, CONTENT and CLASS",
    ),
    (
        missing_column("slice 's'", "txet", ["text", "label"]),
        "slice 's': there is no column 'txet'; did you mean 'text'?",
    ),
    (
        missing_column("key of t", "id", ["text", "label"]),
        "key of t: there is no column 'id'; known: label, text",
    ),
    (
        SliceFaultError("s", "id='a'", "n=0", "ZeroDivisionError: division by zero (s.py:3)"),
        "slice 's' failed on row id='a' having n=0: ZeroDivisionError: division by zero "
        '(s.py:3); fix the function, or set on_error: "null" to leave such rows undecided and'
        " count them",
    ),
    (
        SliceFaultError("s", "", "", "it returned 2 (int), not True, False or None"),
        "slice 's' failed on a row: it returned 2 (int), not True, False or None; fix the "
        'function, or set on_error: "null" to leave such rows undecided and count them',
    ),
    (
        too_many_faults(
            [("s", 1200, 30000), ("r", 5, 30000)],
            0.0001,
            ["'s' on row id=1: oops"],
            "the table is back at version 3",
        ),
        "more slicing functions failed than max_error_rate=0.0001 allows: 's' on 1,200 of "
        "30,000 rows, 'r' on 5 of 30,000 rows; the table is back at version 3. For example: "
        "'s' on row id=1: oops.",
    ),
    (
        too_many_faults([("s", 1, 2)], 0, [], "the table was dropped"),
        "more slicing functions failed than max_error_rate=0 allows: 's' on 1 of 2 rows; the "
        "table was dropped.",
    ),
    (
        no_row_weights("w", ["input_data"]),
        "row_weights or metric_weights names the field 'w', which the rows do not have; their "
        "fields are input_data",
    ),
    (
        trainer_setting("lr", -1, ", and must be positive"),
        "Trainer: lr is -1, and must be positive",
    ),
    (
        CheckpointMissingError("out/model", "model.json"),
        "no checkpoint at 'out/model': model.json is not there; train one first, or correct "
        "the path",
    ),
    (
        damaged("out/model", "it ends early"),
        "the checkpoint at 'out/model' can't be read: it ends early; copy it again, or train "
        "it again",
    ),
    (
        other_format("out/model", 2, 1),
        "the checkpoint at 'out/model' is of format 2, which a newer engine wrote, and this engine "
        "reads format 1: use that engine, or train it again with this one",
    ),
    (
        other_format("out/model", 0, 1),
        "the checkpoint at 'out/model' is of format 0, and this engine reads format 1: train "
        "it again with this version",
    ),
    (
        path_as_name("json.`/x`"),
        "json.`/x` is a path written as a table's name: write the path alone, and its format in "
        "source.format",
    ),
    (
        no_table("mask table", "out/masks"),
        "the mask table out/masks does not exist or is not a Delta table; run `python -m "
        "jobs.label_slices` first",
    ),
    (
        no_table("prediction table", "out/p"),
        "the prediction table out/p does not exist or is not a Delta table; run the job that "
        "makes it first (train_baseline or score_table)",
    ),
    (
        no_table("source", "rows.csv"),
        "the source rows.csv does not exist or is not a Delta table; check the project file",
    ),
    (
        MeanwhileError("out/masks", new=True),
        "somebody else made out/masks while this run was writing it, so this run wrote nothing "
        "there; run it again",
    ),
    (
        MeanwhileError("out/masks", new=False),
        "somebody else wrote to out/masks while this run was writing it, so this run wrote nothing "
        "there; run it again",
    ),
    (
        no_choice("n > 1", ["ds"], "'n' is none"),
        "where='n > 1' can't choose partitions: it may name ds only: 'n' is none",
    ),
    (
        no_choice("n > 1", [], "the project has no partition_by"),
        "where='n > 1' can't choose partitions: the project has no partition_by",
    ),
    (
        unknown_metric("f2", ["f1", "accuracy"]),
        "unknown metric 'f2'; known: accuracy, f1",
    ),
    (
        unequal_lengths({"golds": 3, "preds": 4}),
        "all must have one entry per row, but golds has 3, preds has 4",
    ),
    (
        no_cells("mae", "confusion matrix", ["accuracy", "f1"], "accuracy"),
        "metric 'mae' has no confusion matrix; of those evaluated accuracy, f1 have",
    ),
    (
        not_binary("f1", "try f1_micro or f1_macro"),
        "metric 'f1' is for binary problems: try f1_micro or f1_macro",
    ),
    (
        wrong_shape((3, 1)),
        "probs must have one row per data point and at least 2 columns, found (3, 1)",
    ),
    (
        ConfigError("p.yaml", "the key 'name' is missing"),
        "p.yaml: the key 'name' is missing",
    ),
    (
        no_rows("out/rows"),
        "out/rows has no rows; nothing was written",
    ),
    (
        no_rows("out/rows", "ds = '2024-05-01'"),
        "out/rows has no rows where ds = '2024-05-01'; nothing was written",
    ),
    (
        null_key("rows", "id", 1000, 2000),
        "key column 'id' of rows is null on 1,000 of 2,000 rows; every row needs a key",
    ),
    (
        unknown_class("out/p", "label", ["eggs"], ["ham", "spam"]),
        "column 'label' of out/p has values that are not in classes ['ham', 'spam']: eggs",
    ),
    (
        changed_source("out/masks", "rows", "3", "4"),
        "out/masks was labelled from version 3 of rows, which is now at version 4; run "
        "`python -m jobs.label_slices` again, or set on_stale: count",
    ),
    (
        changed_source("out/masks", "rows", "0", "0", "8 of 16 rows in 1 partition"),
        "out/masks was labelled from version 0 of rows, which was made again since, on 8 of 16 "
        "rows in 1 partition; run `python -m jobs.label_slices` for all partitions, without "
        "--where, or set on_stale: count",
    ),
    (
        mixed_checkpoints("out/p", "a1", "b2"),
        "out/p was scored by checkpoint a1, and the checkpoint is now b2: run without --where, so "
        "that all partitions are scored by one model",
    ),
    (
        unreadable_type("n", "string", "numeric", "a number"),
        "numeric feature 'n' is of type string, and must be a number: cast it in the source, "
        "or leave it out",
    ),
    (
        not_finite("n", 1200, ["id=1", "id=2"]),
        "numeric feature 'n' is NaN or infinite on 1,200 rows, the first are id=1; id=2; "
        "correct them, or make them null, which is a value of its own",
    ),
    (
        no_shares({"train": 0.9, "test": 0.2}),
        "sample.shares must be positive and add up to 1, found train 0.9, test 0.2",
    ),
    (
        wrong_argument("S", None, "a record array", ": write S"),
        "S is None, and must be a record array: write S",
    ),
    (
        unusable_monitor("s/f2", "there is no metric 'f2'"),
        "monitor 's/f2' can't be computed: there is no metric 'f2'; it is '<slice>/<metric>' "
        "or 'overall/<metric>' on the valid split",
    ),
    (
        not_shared("out/state", 1, 0, 3),
        "process 1 finds training in 'out/state' at epoch 0, and process 0 at epoch 3: the "
        "folder must be on storage that all processes share",
    ),
]
CLASSES = {
    name: value
    for name, value in vars(e).items()
    if isinstance(value, type) and issubclass(value, e.EngineError)
}
TREES = [
    ast.parse(p.read_text()) for room in ("engine", "jobs") for p in (ROOT / room).rglob("*.py")
]


@pytest.mark.parametrize(("error", "sentence"), SENTENCES, ids=lambda v: type(v).__name__)
def test_an_errors_sentence(error, sentence):
    assert str(error) == sentence
    assert isinstance(error, e.EngineError)


def _a_predicate():
    sf = where("long", "n > 1")
    plan = compile_slices([sf], StructType([StructField("n", LongType())]))
    plan.apply(pd.DataFrame({"n": [1]}))


def _a_pattern():
    @slicing_function()
    def links(x):
        return re.search("(", x.text) is not None

    compile_slices([links], pd.DataFrame({"text": ["a"]}))


def _no_torch():
    with explained(Path("out")):
        raise RuntimeError("ModuleNotFoundError: No module named 'torch'")


@pytest.mark.parametrize(
    ("call", "kind", "sentence"),
    [
        (
            _a_predicate,
            e.SliceError,
            "slice 'long' is a sql slice, which only Spark can evaluate: apply it to a Spark "
            "DataFrame",
        ),
        (
            _a_pattern,
            e.SliceError,
            "slice 'links': the pattern '(' doesn't compile: missing ), unterminated subpattern at "
            "position 0",
        ),
        (
            _no_torch,
            e.SetupError,
            "Spark's executors cannot import 'torch': pass the zip of `make dist` with --py-files "
            "for the engine, and install torch, scikit-learn and safetensors on every worker",
        ),
        (
            lambda: check_key_names("rows", ["label"]),
            e.ColumnError,
            "rows: 'label' can't be a key or partition column, as prediction tables have a column "
            "of that name; rename it in the source",
        ),
        (
            lambda: check_sample_names("rows", ["_split"]),
            e.ColumnError,
            "rows: '_split' can't be a key or an input of the classifier, as the sample has a "
            "column of that name; rename it in the source",
        ),
    ],
)
def test_a_sentence_beside_its_raise(call, kind, sentence):
    with pytest.raises(kind) as caught:
        call()
    assert str(caught.value) == sentence


def test_every_function_that_returns_an_error_is_tested():
    functions = {
        f.name
        for tree in TREES
        for f in tree.body
        if isinstance(f, ast.FunctionDef) and f.returns and ast.unparse(f.returns) in CLASSES
    }
    here = Path(__file__).read_text()
    assert [f for f in functions if not f.startswith("_") and f"{f}(" not in here] == []


def test_every_error_is_raised_somewhere():
    names = {n.id for tree in TREES for n in ast.walk(tree) if isinstance(n, ast.Name)}
    assert set(CLASSES) - names == set()


def test_bad_input_is_a_value_error():
    assert issubclass(e.InputError, ValueError)
    assert all(c.__doc__ for c in CLASSES.values())


@pytest.mark.parametrize(
    ("word", "known", "end"),
    [
        ("txet", ["text", "label"], "; did you mean 'text'?"),
        ("TEXT", ["text", "label"], "; did you mean 'text'?"),
        ("zzz", ["b", "a", "b"], "; known: a, b"),
        ("zzz", [], ""),
    ],
)
def test_the_nearest_word(word, known, end):
    assert e.near(word, known) == end


@pytest.mark.parametrize(
    ("items", "most", "text"),
    [([], 3, ""), ([1, 2, 3], 3, "1, 2, 3"), ([1, 2, 3, 4, 5], 3, "1, 2, 3 and 2 more")],
)
def test_lists_are_cut(items, most, text):
    assert e.listed(items, most) == text
