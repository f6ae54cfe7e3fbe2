"""The project file: defaults, overrides, and one sentence for whatever is wrong with it."""

from __future__ import annotations

from pathlib import Path

import pytest

from engine.errors import ConfigError, SliceError
from engine.project import slices
from engine.project.load import load_project
from engine.project.settings import Project
from engine.slicing.by_value import by
from engine.watch import Limits

ROOT = Path(__file__).parents[2]
GOOD = """\
name: audit
root: ./out
source: {table: rows.csv}
key: [id]
slices:
  - {name: many, where: "n > 1"}
"""


def slicing_functions(project, folders=(), generated=()):
    return slices.composed(project, slices.load(project, folders), generated)


@pytest.fixture
def load(tmp_path):
    def of(text: str | bytes = GOOD, *overrides: str) -> Project:
        file = tmp_path / "project.yaml"
        file.write_bytes(text if isinstance(text, bytes) else text.encode())
        return load_project(file, overrides)

    return of


@pytest.fixture
def refused(load, tmp_path):
    """Return what is said of a file, without the file's name."""

    def of(text: str | bytes, *overrides: str) -> str:
        with pytest.raises(ConfigError) as caught:
            load(text, *overrides)
        assert isinstance(caught.value, ValueError)
        return str(caught.value).removeprefix(f"{tmp_path / 'project.yaml'}: ")

    return of


def test_defaults(load):
    project = load()
    assert project.classes == [0, 1]
    assert project.positive_position == 1
    assert (project.on_error, project.max_error_rate, project.check_key) == ("fail", 0.0, "full")
    assert (project.limits.seconds, project.limits.memory_mb) == (600.0, 4096)
    assert (project.split, project.label, project.partition_by) == (None, None, [])
    assert project.metrics == ["accuracy", "f1"]
    assert str(project.place("masks")) == "./out/masks"
    assert project.file("report.html") == Path("./out/report.html")
    assert str(project.prediction_table("baseline")) == "./out/predictions_baseline"
    assert (project.baseline.c, project.baseline.solver) == (None, "lbfgs")
    assert (project.classifier.lr, project.classifier.n_epochs) == (None, None)


def test_what_a_report_holds(load, refused):
    assert load().report.model_dump() == {"rows": "text", "hide": [], "smallest": 0, "keep": 50}
    assert load(GOOD, "report.rows=none", "report.hide=[a]").report.hide == ["a"]
    assert load(GOOD, "report.rows=null").report.rows == "none"
    assert refused(GOOD, "report.rows=some") == (
        "report.rows: must be 'none', 'keys' or 'text', found 'some'"
    )


@pytest.mark.parametrize("file", sorted((ROOT / "conf").glob("*.yaml")), ids=lambda p: p.name)
def test_the_project_files_here_load(file, monkeypatch):
    monkeypatch.chdir(ROOT)
    project = load_project(file)
    assert len(slicing_functions(project)) >= 6
    assert "python -m jobs." in file.read_text()


def test_a_catalogs_tables(load):
    project = load(GOOD.replace("./out", "warehouse.audit"), "folder=/data/audit")
    assert str(project.place("masks")) == "warehouse.audit.masks"
    assert project.file("model") == Path("/data/audit/model")


@pytest.mark.parametrize(
    ("override", "read"),
    [
        ("name=other", lambda p: p.name == "other"),
        ("root=/tmp/audit", lambda p: str(p.place("masks")) == "/tmp/audit/masks"),
        ("classifier.n_epochs=5", lambda p: p.classifier.n_epochs == 5),
        ("classifier.lr=1e-3", lambda p: p.classifier.lr == 0.001),
        ("classifier.base.width=8", lambda p: p.classifier.base["width"] == 8),
        ("sample={per_slice: 5}", lambda p: p.sample.per_slice == 5),
        ("metrics=[f1, 'precision@threshold=0.70']", lambda p: p.metrics[1].endswith("=0.7")),
        ("metrics=[f1, f1]", lambda p: p.metrics == ["f1"]),
        ("key=other", lambda p: p.key == ["other"]),
        ("key=[a, b]", lambda p: p.key == ["a", "b"]),
        ("on_error=null", lambda p: p.on_error == "null"),
        ("on_error='null'", lambda p: p.on_error == "null"),
        ("on_error=raise", lambda p: p.on_error == "fail"),
        ("on_errors={a: null, b: raise}", lambda p: p.on_errors == {"a": "null", "b": "fail"}),
        ("limits.seconds=5", lambda p: p.limits.of_slices == Limits(5.0, 4096)),
        ("limits={seconds: null, memory_mb: null}", lambda p: p.limits.of_slices == Limits()),
        ("check_key=off", lambda p: p.check_key == "off"),
        ("max_error_rate=0.5", lambda p: p.max_error_rate == 0.5),
        ("source.options={header: true, sep: ;}", lambda p: p.source.options["header"] == "true"),
        ("spark={spark.sql.shuffle.partitions: 4}", lambda p: [*p.spark.values()] == ["4"]),
        ("classes=[ham, spam]", lambda p: p.classes == ["ham", "spam"]),
        ("classes=[false, true]", lambda p: p.classes == [False, True]),
        ("classes=[0.0, 1.0]", lambda p: list(map(repr, p.classes)) == ["0", "1"]),
        ("name=a=b", lambda p: p.name == "a=b"),
        ("name=[", lambda p: p.name == "["),
    ],
)
def test_overrides(load, override, read):
    assert read(load(GOOD, override))


def test_a_later_override_wins_and_positive_is_a_class(load):
    project = load(GOOD, "classes=[ham, spam]", "positive=spam", "positive=ham")
    assert project.positive_position == 0


@pytest.mark.parametrize(
    ("override", "message"),
    [
        ("seed", "seed: an override is written key=value"),
        ("name.x=1", "name.x=1: 'name' is not a group of settings"),
        ("slices.0.where=n", "slices.0.where=n: 'slices' is not a group of settings"),
        ("seed=x", "seed: must be a whole number, found 'x'"),
        ("classifer.n_epochs=5", "unknown key 'classifer'; did you mean 'classifier'?"),
        ("classifier.epochs=5", "unknown key 'classifier.epochs'; did you mean 'n_epochs'?"),
    ],
)
def test_overrides_that_cannot_be(refused, override, message):
    assert refused(GOOD, override) == message


# Added to a good file, and what is said of it.
WRONG = {
    "metricz: [f1]": "unknown key 'metricz'; did you mean 'metrics'?",
    "KEY: [a]": "unknown key 'KEY'; did you mean 'key'?",
    "baseline: {solvr: x}": "unknown key 'baseline.solvr'; did you mean 'solver'?",
    "sample: {per_slices: 1}": "unknown key 'sample.per_slices'; did you mean 'per_slice'?",
    "predictions: {m: {tabel: x}}": "unknown key 'predictions.m.tabel'; did you mean 'table'?",
    "predictions: {m: {label: {table: a, colum: b}}}":
        "unknown key 'predictions.m.label.colum'; did you mean 'column'?",
    "predictions: {m: {label: {table: a}}}": "the key 'predictions.m.label.column' is missing",
    "metrics: f1": "metrics: must be a list, found 'f1'",
    "metrics: []": "metrics: must have 1 or more entries, found []",
    "metrics: [f2]":
        "metrics: unknown metric 'f2'; known: accuracy, balanced_accuracy, bias, brier, "
        "cohen_kappa, count, coverage, ece, f1, f1_macro and 28 more",
    "metrics: [acuracy]": "metrics: unknown metric 'acuracy'; did you mean 'accuracy'?",
    "metrics: [f1@treshold=.5]":
        "metrics: metric 'f1@treshold=.5': parameter 'treshold': it takes threshold, top",
    "classes: [1]": "classes must be at least two different values",
    "classes: [a, a]": "classes must be at least two different values",
    "classes: [true, 'true']": "classes must be at least two different values",
    "predictions: {a/b: {}}": "model id 'a/b' can't be a part of a file's name",
    "baseline: {model_id: ''}": "model id '' can't be a part of a file's name",
    "classes: [1, 1.0]": "classes must be at least two different values",
    "classes: [1, true]": "classes must be at least two different values",
    "classes: [0, 1.5]": "classes.1: must be a whole number, text, true or false, found 1.5",
    "classes: 5": "classes: must be a list, found 5",
    "positive: 7": "positive 7 is not one of classes [0, 1]",
    "carry: [id]": "'id' is named twice among key, split and carry",
    "split: id": "'id' is named twice among key, split and carry",
    "max_error_rate: 2": "max_error_rate: must be at most 1, found 2",
    "max_error_rate: -0.1": "max_error_rate: must be at least 0, found -0.1",
    "max_error_rate: few": "max_error_rate: must be a number, found 'few'",
    "on_error: stop": "on_error: must be 'fail', 'null' or 'quarantine', found 'stop'",
    "on_error: quarantin":
        "on_error: must be 'fail', 'null' or 'quarantine', found 'quarantin'; did you mean "
        "'quarantine'?",
    "on_error: [fail]":
        "on_error: must be 'fail', 'null' or 'quarantine', found ['fail']; did you mean "
        "'fail'?",
    "on_errors: fail": "on_errors: must be a group of settings, found 'fail'",
    "on_errors: {short: stop}":
        "on_errors.short: must be 'fail', 'null' or 'quarantine', found 'stop'",
    "limits: {seconds: 0}": "limits.seconds: must be greater than 0, found 0",
    "limits: {seconds: .nan}": "limits.seconds: must be at most 604800, found nan",
    "limits: {seconds: 1.0e+9}": "limits.seconds: must be at most 604800, found 1000000000.0",
    "limits: {memory_mb: -1}": "limits.memory_mb: must be greater than 0, found -1",
    "limits: {memory: 5}": "unknown key 'limits.memory'; did you mean 'memory_mb'?",
    "check_key: maybe": "check_key: must be 'full' or 'off', found 'maybe'",
    "missing_predictions: ok": "missing_predictions: must be 'error' or 'count', found 'ok'",
    "classifier: {n_epochs: 0}": "classifier.n_epochs: must be greater than 0, found 0",
    "classifier: {lr: fast}": "classifier.lr: must be a number, found 'fast'",
    "classifier: {optimizer: adm}": "classifier: optimizer is 'adm'; did you mean 'adam'?",
    "classifier: {lr_scheduler: linar}":
        "classifier: lr_scheduler is 'linar'; did you mean 'linear'?",
    "classifier: {precision: bf61}": "classifier: precision is 'bf61'; did you mean 'bf16'?",
    "classifier: {attention: papper}": "classifier: attention is 'papper'; did you mean 'paper'?",
    "classifier: {seed: -1}":
        "classifier: seed is -1, and must be a whole number from 0 to 4294967295",
    "classifier: {lr: .inf}": "classifier: lr is inf, and must be a number",
    "classifier: {slice_weights: {a: -1}}":
        "classifier: slice_weights is {'a': -1.0}, and must be slices with numbers that are not "
        "below 0",
    "classifier: {class_weights: [1]}":
        "classifier.class_weights is [1.0], and must be 2 numbers, one of each class, none below 0 "
        "and not all 0",
    "classifier: {patience: 2, n_epochs: 5}": "classifier: patience is 2, and needs a monitor",
    "baseline: {columns: []}": "baseline.columns: must have 1 or more entries, found []",
    "classifier: {monitor: f1}":
        "classifier: monitor 'f1' can't be computed: there is no slice ''; known: overall; it is "
        "'<slice>/<metric>' or 'overall/<metric>' on the valid split",
    "classifier: {monitor: short/acuracy}":
        "classifier: monitor 'short/acuracy' can't be computed: the model's scorer has no metric "
        "'acuracy'; did you mean 'accuracy'?; it is '<slice>/<metric>' or 'overall/<metric>' on "
        "the valid split",
    "classifier: {base: {kind: mpl}}":
        "classifier: base architecture: there is no kind 'mpl'; did you mean 'mlp'?",
    "classifier: {base: {layers: 0}}":
        "classifier: base architecture: layers is 0, and must be a whole number of at least 1",
    "classifier: {base: {kind: tabular_mlp, dropout: 1.5}}":
        "classifier: base architecture: dropout is 1.5, and must be from 0 to below 1",
    "classifier: {features: {kind: tfdif}}":
        "classifier: features: there is no kind 'tfdif'; did you mean 'tfidf'?",
    "classifier: {features: {kind: tabular, numeric: age}}":
        "classifier: features: numeric is 'age', and must be a list of columns: write ['age']",
    "classifier: {features: {ngram_range: 2}}":
        "classifier: features: ngram_range is 2, and must be the shortest and longest run: [1, 2], "
        "say",
    "sample: {kind: stratifed}":
        "sample.kind: must be 'quota', 'simple', 'stratified' or 'oversample', found 'stratifed'; "
        "did you mean 'stratified'?",
    "sample: {shares: {train: 0.5, valid: 0.1}}":
        "sample.shares: must be positive and add up to 1, found train 0.5, valid "
        "0.1, test 0.1",
    "seed: -1": "seed: must be at least 0, found -1",
    "classifier: 5": "classifier: must be a group of settings, found 5",
    "baseline: {solver: x}":
        "baseline.solver: must be 'liblinear', 'lbfgs', 'newton-cg', 'newton-cholesky', 'sag' or "
        "'saga', found 'x'",
    "baseline: {ngram_range: [1]}": "baseline.ngram_range: an entry is missing, found [1]",
    "baseline: {ngram_range: [1, 2, 3]}":
        "baseline.ngram_range: must have 2 entries, found [1, 2, 3]",
    "baseline: {ngram_range: 1}": "baseline.ngram_range: must be a list, found 1",
    "predictions: [a]": "predictions: must be a group of settings, found ['a']",
    "by: [{colum: a}]": "unknown key 'by.0.colum'; did you mean 'column'?",
    "by: [{column: a, columns: [a, b]}]": "by.0: give either column or columns",
    "by: [{top: 3}]": "by.0: give either column or columns",
    "by: [{columns: [a]}]": "by.0.columns: must have 2 or more entries, found ['a']",
    "by: [{columns: [a, a]}]": "by.0: columns a, a must be different ones",
    "by: [{columns: [a, b], values: [[1, 2], [1]]}]": "by.0: values must be lists of 2, found [1]",
    "by: [{column: a, top: 0}]": "by.0.top: must be greater than 0, found 0",
    "by: [{column: a, values: [[1]]}]":
        "by.0: column 'a' can't be sliced by value: it is of type list; use text, a boolean, a "
        "whole number, a date or a float, or cast it in the source",
    "by: [a, {column: a}]": "by: a is there twice",
    "by: [{columns: [a, b]}, {columns: [b, a]}]": "by: b, a is there twice",
    "by: 5": "by.0: must be a group of settings, found 5",
    "seed: 1.5": "seed: must be a whole number, found 1.5",
    "text: [a]": "text: must be text, found ['a']",
    "carry: video": "carry: must be a list, found 'video'",
    "carry: [1]": "carry.0: must be text, found 1",
    "spark: {a: [1]}": "spark.a: must be text, found [1]",
}  # fmt: skip


@pytest.mark.parametrize(("extra", "message"), WRONG.items(), ids=WRONG)
def test_a_setting_that_cannot_be(refused, extra, message):
    assert refused(f"{GOOD}{extra}\n") == message


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("name: audit\n", "", "the key 'name' is missing"),
        ("key: [id]\n", "", "the key 'key' is missing"),
        ("table:", "tabel:", "unknown key 'source.tabel'; did you mean 'table'?"),
        ("{table: rows.csv}", "{}", "the key 'source.table' is missing"),
        ("{table: rows.csv}", "rows.csv", "source: must be a group of settings, found 'rows.csv'"),
        (
            "rows.csv}",
            "rows.csv, format: xls}",
            "source.format: must be 'delta', 'parquet', 'csv' or 'json', found 'xls'",
        ),
        ("[id]", "[]", "key: must have 1 or more entries, found []"),
        ("[id]", "", "key: must be a list, found None"),
        (
            ', where: "n > 1"',
            "",
            "slices.0: slice 'many' needs either where (a SQL predicate, or slice ids with &, | "
            "and ~) or lookup",
        ),
        (
            "n > 1",
            "a & | b",
            "slices.0.where: the composition 'a & | b' can't be read: a slice id is missing before "
            "'|' at character 5; it is made of slice ids, &, |, ~ and parentheses",
        ),
        ("where:", "were:", "unknown key 'slices.0.were'; did you mean 'where'?"),
        ('"n > 1"', "1", "slices.0.where: must be text, found 1"),
        (
            "./out",
            "warehouse.audit",
            "root 'warehouse.audit' is a catalog schema, so folder must say where models and "
            "reports go (a path has a slash: './audit')",
        ),
    ],
)
def test_what_every_file_needs(refused, old, new, message):
    assert old in GOOD
    assert refused(GOOD.replace(old, new)) == message


def test_an_unknown_key_that_is_near_none_lists_some(refused):
    said = refused(GOOD + "zzz: 1\n")
    known = ", ".join(sorted(Project.model_fields)[:10])
    more = len(Project.model_fields) - 10
    assert said == f"unknown key 'zzz'; known: {known} and {more} more"


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "it must be a mapping of settings"),
        ("- a\n", "it must be a mapping of settings"),
        ("only text", "it must be a mapping of settings"),
        (
            "name: a\n  root: b\n",
            "it is not YAML: line 2, column 7: mapping values are not allowed here",
        ),
        (
            "name: [a\n",
            "it is not YAML: line 2, column 1: expected ',' or ']', but got '<stream end>'",
        ),
        (
            "\tname: a\n",
            "it is not YAML: line 1, column 1: found character '\\t' that cannot start any token",
        ),
        ("key: *no\n", "it is not YAML: line 1, column 6: found undefined alias 'no'"),
        (GOOD + "name: b\n", "it is not YAML: line 7, column 1: the key 'name' is there twice"),
        (
            "name: !!python/object:os.system x\n",
            "it is not YAML: line 1, column 7: could not determine a constructor for the tag "
            "'tag:yaml.org,2002:python/object:os.system'",
        ),
        (
            "name: \x07\n",
            "it is not YAML: unacceptable character #x0007: special characters are not allowed in "
            '"<unicode string>", position 6',
        ),
        (
            b"name: \xff\n",
            "it is not YAML: 'utf-8' codec can't decode byte 0xff in position 6: invalid start "
            "byte",
        ),
    ],
)
def test_a_file_that_is_no_project(refused, text, message):
    assert refused(text) == message


@pytest.mark.parametrize(
    ("name", "problem"), [("none.yaml", "No such file or directory"), (".", "Is a directory")]
)
def test_a_file_that_cannot_be_read(tmp_path, name, problem):
    with pytest.raises(ConfigError) as caught:
        load_project(tmp_path / name)
    assert str(caught.value) == f"{tmp_path / name}: it can't be read: {problem}"


def test_slices_come_from_modules_and_then_the_file_each_once(load, tmp_path):
    shared = "from engine import where\nshared = where('shared', 'true')\n"
    (tmp_path / "one.py").write_text(shared)
    (tmp_path / "two.py").write_text("from one import shared\n" + shared.replace("shared", "own"))
    project = load(GOOD, "sf_modules=[one.py, two.py]")
    assert [s.name for s in slicing_functions(project, [tmp_path])] == ["shared", "own", "many"]


def test_an_inline_slices_id_and_description(load):
    project = load(GOOD, "slices=[{name: Over 80, id: over, where: n > 80, description: Older}]")
    [sf] = slicing_functions(project)
    assert (sf.name, sf.id, sf.sql, sf.description) == ("Over 80", "over", "n > 80", "Older")


def test_a_project_without_slices(load, tmp_path):
    with pytest.raises(ConfigError) as caught:
        slicing_functions(load(GOOD, "slices=[]"))
    assert str(caught.value) == "audit: there is no slice: give sf_modules, slices or by"
    (tmp_path / "none.py").write_text("")
    with pytest.raises(SliceError):
        slicing_functions(load(GOOD, "sf_modules=[none.py]"), [tmp_path])


LOOKUPS = [
    ("{table: t, colum: a}", "unknown key 'slices.0.lookup.colum'; did you mean 'column'?"),
    ("{table: t}", "the key 'slices.0.lookup.column' is missing"),
    ("{column: a}", "slices.0.lookup: give one of table, file and keys"),
    ("{column: a, table: t, keys: [1]}", "slices.0.lookup: give one of table, file and keys"),
    (
        "{column: a, table: t, how: fast}",
        "slices.0.lookup.how: must be 'auto', 'broadcast' or 'join', found 'fast'",
    ),
]


@pytest.mark.parametrize(("keys", "message"), LOOKUPS)
def test_a_lookup_that_cannot_be(refused, keys, message):
    assert refused(GOOD.replace('where: "n > 1"', f"lookup: {keys}")) == message


def test_lookups_and_compositions_are_slices(load):
    slices = [
        "{name: both, where: many & ~vip, description: Many of a few}",
        "{name: Key accounts, id: vip, lookup: {column: customer, file: keys.csv, how: join}}",
        "{name: few, lookup: {column: n, keys: [1, 2]}}",
        "{name: or both, where: both | few}",
    ]
    text = GOOD + "".join(f"  - {one}\n" for one in slices)
    sfs = {sf.id: sf for sf in slicing_functions(load(text))}
    assert list(sfs) == ["many", "vip", "few", "both", "or_both"]
    assert (sfs["both"].name, sfs["both"].description) == ("both", "Many of a few")
    assert sfs["or_both"].description == "both | few"
    assert sorted(sfs["or_both"].parts) == ["few", "many", "vip"]
    keys = sfs["vip"].expr.keys
    assert (keys.table, keys.column, sfs["vip"].expr.how) == ("keys.csv", "customer", "join")
    assert sfs["few"]({"n": 2}) is True


def test_by_values(load):
    text = (
        "by: [country, {columns: [sex, race], top: 5, other: false}, {column: n, values: [2, 1]}]"
    )
    specs = [one.spec for one in load(GOOD, text.replace(": ", "=", 1)).by]
    assert [(s.columns, s.top, s.other, s.values) for s in specs] == [
        (("country",), 100, True, None),
        (("sex", "race"), 5, False, None),
        (("n",), 100, True, ((2,), (1,))),
    ]
    assert load(GOOD, "by=country").by == load(GOOD, "by=[country]").by


def test_what_is_composed_is_checked_once_all_slices_are_known(load):
    project = load(GOOD + "  - {name: both, where: many & country_us}\n", "by=country")
    with pytest.raises(SliceError):
        slicing_functions(project)
    us = by("country", ["US"])
    assert [sf.id for sf in slicing_functions(project, generated=us)] == [
        "many", "both", "country_us", "country_null", "country_other",
    ]  # fmt: skip


def test_an_id_that_is_none_is_refused_whatever_the_slice_is(load):
    said = "is not an identifier of at most 64 letters, digits and underscores"
    for where in ("likes > 3", "many & ~many"):
        for given in ("", " ", "a-b"):
            project = load(GOOD + f"  - {{name: n, id: '{given}', where: {where}}}\n")
            with pytest.raises(SliceError) as caught:
                slicing_functions(project)
            assert str(caught.value) == (
                f"slice 'n': the id {given!r} {said}; give the slice another id"
            )


def test_a_models_id_is_a_part_of_a_tables_name(load, refused):
    catalog = GOOD.replace("root: ./out", "root: shop.audit\nfolder: ./out")
    assert refused(catalog + "predictions: {my model: {}}\n") == (
        "model id 'my model' can't be a part of the name of a table in shop.audit: give it "
        "letters, digits and _ alone, or a table under predictions"
    )
    load(catalog + "predictions: {my model: {table: a/b}}\n")
    load(GOOD + "predictions: {my model: {}}\n")


def test_the_split_of_rows_whose_split_is_null_is_null(load):
    project = load(GOOD, "split=part", "evaluate_splits=[test, null]", "train_split=null")
    assert project.evaluate_splits == ["test", None]
    assert project.training_splits == [None, "valid"]


def test_a_project_of_compositions_of_nothing(load):
    project = load(GOOD, "slices=[{name: a, where: b & c}]", "sf_modules=[]")
    with pytest.raises(SliceError) as caught:
        slicing_functions(project)
    assert str(caught.value) == "slice 'a' is composed of 'b', which is no slice's id; known: a"
