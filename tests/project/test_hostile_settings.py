"""Settings that nobody means well by: a sentence each; nothing runs, nothing is written."""

from __future__ import annotations

import random
import sys
import time

import pytest

from engine.errors import ConfigError, EngineError
from engine.project.load import load_project
from engine.project.slices import load

GOOD = """
name: p
root: ./out
source: {table: ./rows.csv}
key: id
slices:
  - {name: many, where: "n > 1"}
"""

TEXTS = [
    "!!python/object/apply:os.system ['touch executed']",
    "!!python/object/new:os.system ['touch executed']",
    "a: !!python/name:os.system",
    "a: !!python/module:os",
    "a: !!python/object/apply:subprocess.check_output [['touch', 'executed']]",
    "a: !!python/tuple [1, 2]",
    "a: !<tag:yaml.org,2002:python/name:os.system>",
    "!custom x",
    "a: !!timestamp x",
    "a: !!int x",
    "a: !!float x",
    "a: !!binary '*'",
    "a: !!set x",
    "a: 2024-13-45",
    f"a: {'1' * 5000}",
    "a: *unknown",
    "a: &a [*a]",
    "&a a: *a",
    "<<: [1]",
    "? [1, 2]\n: 3",
    "? {a: 1}\n: 3",
    "a: 1\na: 2",
    "- 1\n- 2",
    "just text",
    "",
    "null",
    "a: b: c",
    "a: [1, 2",
    "a: 'x",
    "\ta: 1",
    "a: \x00",
    "a: \x1b[31m",
    "\ufffe",
    "%YAML 9.9\n---\na: 1",
    "---\na: 1\n---\nb: 2",
    "[" * 20_000,
    "a: " + "{b: " * 5_000,
    "a: &a [x, x, x, x, x, x, x, x, x]\n"
    + "\n".join(
        f"{chr(98 + i)}: &{chr(98 + i)} [{', '.join([f'*{chr(97 + i)}'] * 9)}]" for i in range(20)
    ),
]


@pytest.mark.parametrize("text", TEXTS, ids=lambda text: text[:30])
def test_a_file_that_is_no_project_is_refused(tmp_path, text):
    file = tmp_path / "p.yaml"
    file.write_text(text, encoding="utf-8")
    start = time.monotonic()
    with pytest.raises(ConfigError) as raised:
        load_project(file)
    assert time.monotonic() - start < 20
    assert str(raised.value).startswith(f"{file}: ")
    assert "\n" not in str(raised.value)
    assert [path.name for path in tmp_path.iterdir()] == ["p.yaml"]


def test_bytes_that_are_no_text(tmp_path):
    file = tmp_path / "p.yaml"
    file.write_bytes(b"name: \xff\xfe\x00")
    with pytest.raises(ConfigError, match="it is not YAML"):
        load_project(file)


SETTINGS = [
    "baseline={model_id: ../../x}",
    "baseline={model_id: ..}",
    "baseline={model_id: /etc/passwd}",
    "baseline={model_id: 'a\\\\b'}",
    'baseline={model_id: "a\\0b"}',
    'baseline={model_id: "a\\nb"}',
    'baseline={model_id: "\\e[31m"}',
    f"baseline={{model_id: {'x' * 300}}}",
    "classifier={model_id: ../../x}",
    "classifier={model_id: ''}",
    "classifier={model_id: .}",
    "predictions={../../x: {}}",
    "predictions={/etc/x: {}}",
    "predictions={'': {}}",
    "__class__=x",
    "__init__.__globals__=x",
    "model_config=x",
    "source.__class__=x",
    "source=null",
    "source=[]",
    "source={table: null}",
    "source={table: [a]}",
    "source={table: x, format: exe}",
    "source={table: x, format: jdbc}",
    "source={table: x, options: {a: [1]}}",
    "source={table: x, extra: 1}",
    "key=[]",
    "key=[[a]]",
    "key=null",
    "name=null",
    "name=[]",
    "root=null",
    "seed=-1",
    "seed=1.5",
    "seed=x",
    "verify=2",
    "verify=.nan",
    "verify=-1",
    "max_error_rate=.inf",
    "max_error_rate=.nan",
    "certainty.level=.nan",
    "certainty.level=1",
    "certainty.replicates=1000000000000",
    "certainty.min_support=-1",
    "audit.worst_rows=1000000000000",
    "on_error=explode",
    "layout=random",
    "tier=gpu",
    "tiers={a: gpu}",
    "classes=[1]",
    "classes=[1, 1]",
    "classes=[[1], [2]]",
    "positive=7",
    "metrics=[]",
    "metrics=['__import__(\"os\")']",
    "metrics=[f1; DROP TABLE x]",
    "partition_by=x",
    "carry=[id]",
    "by=[{column: [a]}]",
    "by=[{columns: [a]}]",
    "by=[{column: a, values: [[1]]}]",
    "by=[{column: a, top: 0}]",
    "gate={rules: [3]}",
    "gate={rules: ['f1 >= __import__(\"os\")']}",
    "gate={rules: ['f1 >= 0.8'], waivers: [{rule: x}]}",
    "gate={rules: [{metric: f1, threshold: .inf}]}",
    "slices=[{name: a}]",
    "slices=[{where: a}]",
    "slices=[{name: a, where: b, lookup: {column: c, keys: [1]}}]",
    "slices=[{name: a, where: [b]}]",
    "slices=[{name: a, where: 1}]",
    "slices=[{name: a, lookup: {column: c}}]",
    "slices=[{name: a, lookup: {column: c, keys: [1], file: x}}]",
    "slices=[{name: a, lookup: {column: c, keys: [1], how: fork}}]",
    "slices=x",
    "slices=[x]",
    "spark=[a]",
    "spark={a: [b]}",
    "spark={a: {b: c}}",
    "allow_sql_functions=[reflect]",
    "allow_sql_functions=[JAVA_METHOD]",
    "allow_sql_functions=[sys.rand]",
    "allow_sql_functions=x",
    "run_date=tomorrow",
    "run_date=2024-13-01",
    "run_date=[1]",
    "run_date={}",
    "sample.shares={train: 2}",
    "sample.shares={train: .nan}",
    "sample.per_slice=0",
    "baseline.solver=os.system",
    "baseline.ngram_range=[2]",
    "baseline.c=0",
    "classifier.features={kind: pickle}",
    "classifier.base={kind: os.system}",
    "classifier.n_epochs=0",
    "classifier.lr=.nan",
    "classifier.lr=.inf",
    "classifier.optimizer=__import__",
    "classifier.processes=0",
    "nonsense",
    "=x",
    "a.b.c=1",
    "..=1",
    "source..table=1",
    "slices=" + "[" * 5000,
]


@pytest.fixture
def file(tmp_path):
    path = tmp_path / "p.yaml"
    path.write_text(GOOD)
    return path


@pytest.mark.parametrize("override", SETTINGS, ids=lambda text: text[:40])
def test_a_hostile_setting_is_refused(file, override):
    with pytest.raises(ConfigError) as raised:
        load_project(file, [override])
    assert "\n" not in str(raised.value)
    assert "pydantic" not in str(raised.value)
    assert [path.name for path in file.parent.iterdir()] == ["p.yaml"]


SLICES = [
    "{name: a, where: 'rand() < 1'}",
    "{name: a, where: \"reflect('java.lang.System', 'exit', 0) = ''\"}",
    "{name: a, where: 's IN (SELECT value FROM text.`/etc/passwd`)'}",
    "{name: a, where: 'true; DROP TABLE t'}",
    "{name: a, where: ''}",
    "{name: a, where: '${env:HOME} = s'}",
    "{name: a, where: 'a & '}",
    "{name: a, where: 'a & (b'}",
    "{name: a, where: 'a & a'}",
    "{name: a, where: 'missing & also_missing'}",
    "{name: '', where: 'true'}",
    "{name: a, id: '1a', where: 'true'}",
    "{name: a, id: 'a b', where: 'true'}",
    "{name: a, id: 'a`b', where: 'true'}",
    "{name: a, id: '../x', where: 'true'}",
    "{name: a, id: '" + "x" * 65 + "', where: 'true'}",
    "{name: a, id: '', where: 'true'}",
    "{name: a, id: 'ü', where: 'true'}",
]


@pytest.mark.parametrize("slices", SLICES)
def test_a_hostile_slice_is_refused_before_spark_starts(file, slices):
    before = set(sys.modules)
    with pytest.raises(EngineError) as raised:
        load(load_project(file, [f"slices=[{slices}]"]), [file.parent])
    assert "\n" not in str(raised.value)
    assert not {"os.system", "reflect"} & (set(sys.modules) - before)


def test_a_predicate_of_the_file_is_checked_by_name(file):
    project = load_project(file, ["slices=[{name: Any one, where: 'rand() < 1'}]"])
    with pytest.raises(EngineError) as raised:
        load(project, [])
    assert str(raised.value) == (
        "slice 'Any one': the predicate 'rand() < 1' calls rand(), which answers otherwise each "
        "time"
    )


def test_the_runs_date_is_a_setting(file):
    assert str(load_project(file, ["run_date=2024-05-01"]).run_date) == "2024-05-01"


PIECES = [
    *"{}[]:,&*!|>'\"%@`#-?\n\t ",
    "a",
    "name",
    "root",
    "slices",
    "1",
    "null",
    "!!",
    "<<",
    "\x1b",
    "é",
]


@pytest.mark.parametrize("seed", range(20))
def test_made_up_files_are_refused_by_a_sentence_or_work(tmp_path, seed):
    draw, file = random.Random(seed), tmp_path / "p.yaml"
    for _ in range(25):
        at = draw.randrange(len(GOOD))
        piece = "".join(draw.choices(PIECES, k=draw.randrange(1, 5)))
        file.write_text(GOOD[:at] + piece + GOOD[at + draw.randrange(4) :], encoding="utf-8")
        try:
            load_project(file)
        except ConfigError as error:
            sentence = str(error)
        else:
            continue
        assert sentence.startswith(f"{file}: ")
        assert "\n" not in sentence
