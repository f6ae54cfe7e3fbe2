from __future__ import annotations

import json
import random
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import save_file

from engine.classifier import checkpoint
from engine.classifier.bases import build_base
from engine.classifier.features.text import BagOfWords
from engine.classifier.model import SlicingClassifier
from engine.classifier.settings import MlpSpec
from engine.errors import EngineError

TEXTS = ["check this out", "nice song", None, "please subscribe", "check my song"]
SPEC = {"kind": "mlp", "layers": 2, "width": None}
BEFORE = Path(__file__).with_name("written_before")  # a checkpoint that an earlier commit wrote


def message(error, f, *args, **kwargs):
    with pytest.raises(error) as caught:
        f(*args, **kwargs)
    return str(caught.value)


@pytest.fixture
def saved(tmp_path):
    def save(path=tmp_path / "model", seed=0, **settings):
        torch.manual_seed(seed)
        features = BagOfWords.fit(TEXTS)
        base = build_base(SPEC, features.width)
        model = SlicingClassifier(base.module, base.width, ["short", "link"], **settings)
        checkpoint.save(
            path,
            model,
            features=features,
            base=SPEC,
            classes=["ham", "spam"],
            slices={"short": "f1", "link": "f2"},
            facts={"source_version": "3", "seed": seed},
        )
        return path, model

    return save


def test_what_is_loaded_predicts_what_was_saved(saved):
    path, model = saved(task_name="spam", input_data_key="words", temperature=0.5)
    assert sorted(p.name for p in path.iterdir()) == ["checkpoint.json", "model.safetensors"]
    loaded = checkpoint.load(path)
    wanted = model.predict_proba({"words": loaded.features.transform(TEXTS)})
    assert np.array_equal(loaded.predict_proba(TEXTS), wanted)
    assert all(
        torch.equal(tensor, loaded.model.state_dict()[name])
        for name, tensor in model.state_dict().items()
    )
    assert loaded.classes == ("ham", "spam")
    assert loaded.slices == {"short": "f1", "link": "f2"}
    assert loaded.facts == {"source_version": "3", "seed": 0}
    assert loaded.base == SPEC
    assert not loaded.model.training
    assert all(p.requires_grad for p in loaded.model.parameters())


def test_the_models_settings_travel(saved):
    settings = {
        "attention": "paper",
        "indicator_loss_weight": 0.5,
        "slice_weights": {"link": 2.0},
        "class_weights": [1.0, 3.0],
        "row_weights": "sample_weight",
    }
    path, model = saved(**settings)
    loaded = checkpoint.load(path).model
    assert {name: getattr(loaded, name) for name in settings} == settings
    words = {"input_data": checkpoint.load(path).features.transform(TEXTS)}
    assert np.array_equal(loaded.predict_proba(words), model.predict_proba(words))


def test_a_checkpoint_from_before_a_setting_has_its_default(saved):
    path, model = saved()
    facts = path / "checkpoint.json"
    described = json.loads(facts.read_text())
    for setting in ("attention", "indicator_loss_weight", "slice_weights", "class_weights"):
        del described["model"][setting]
    del described["checksum"]  # which it didn't have then, either
    facts.write_text(json.dumps(described))
    loaded = checkpoint.load(path)
    assert loaded.model.attention == "snorkel"
    wanted = model.predict_proba({"input_data": loaded.features.transform(TEXTS)})
    assert np.array_equal(loaded.predict_proba(TEXTS), wanted)


def test_a_checkpoint_that_was_written_before_scores_as_it_did_and_is_written_the_same(tmp_path):
    loaded = checkpoint.load(BEFORE)
    scores = loaded.score(["check out this link now", None, "Now, now! subscribe out"], heads=True)
    assert np.allclose(scores.prob[:, 1], [0.63257217, 0.64304644, 0.64764273], atol=1e-6)
    assert np.allclose(scores.indicator[0], [0.43538529, 0.32543379, 0.64479405], atol=1e-6)
    assert np.allclose(scores.attention[0], [0.33141828, 0.26870656, 0.39987513], atol=1e-6)
    parts = {name: getattr(loaded, name) for name in ("features", "base", "classes", "slices")}
    checkpoint.save(tmp_path / "again", loaded.model, facts=loaded.facts, **parts)
    again = tmp_path / "again"
    assert (again / "model.safetensors").read_bytes() == (BEFORE / "model.safetensors").read_bytes()
    described = json.loads((again / "checkpoint.json").read_text())
    assert len(described.pop("checksum")) == 64
    assert described == json.loads((BEFORE / "checkpoint.json").read_text())


def test_typed_settings_of_a_base_are_those_that_json_holds(saved, tmp_path):
    path, model = saved()
    loaded = checkpoint.load(path)
    parts = {name: getattr(loaded, name) for name in ("features", "classes", "slices", "facts")}
    checkpoint.save(tmp_path / "typed", model, base=MlpSpec(layers=2), **parts)
    assert checkpoint.load(tmp_path / "typed").base == SPEC
    again = checkpoint.load(tmp_path / "typed").predict_proba(TEXTS)
    assert np.array_equal(again, loaded.predict_proba(TEXTS))


def test_added_slices_travel(saved, tmp_path):
    path, model = saved()
    loaded = checkpoint.load(path)
    loaded.model.add_slices(["new"])
    more = {"features": loaded.features, "base": SPEC, "classes": loaded.classes}
    checkpoint.save(
        tmp_path / "more",
        loaded.model,
        slices=dict(loaded.slices) | {"new": "f3"},
        facts={},
        **more,
    )
    again = checkpoint.load(tmp_path / "more").model
    assert again.head_names == ("short", "link", "new", "base")
    assert all(
        torch.equal(tensor, again.state_dict()[name])
        for name, tensor in loaded.model.state_dict().items()
    )
    assert torch.equal(again.indicator.weight[[0, 1, 3]], model.indicator.weight)


def test_batches_give_what_all_rows_at_once_give(saved):
    loaded = checkpoint.load(saved()[0])
    np.testing.assert_allclose(
        loaded.predict_proba(TEXTS, batch_size=2), loaded.predict_proba(TEXTS), atol=1e-6
    )
    assert loaded.predict_proba([]).shape == (0, 2)


def test_a_checkpoint_is_replaced_by_a_new_one(saved):
    saved(seed=0)
    path, model = saved(seed=1)
    loaded = checkpoint.load(path)
    assert loaded.facts["seed"] == 1
    assert torch.equal(loaded.model.master.weight, model.master.weight)
    assert [p.name for p in path.parent.iterdir()] == ["model"]


@pytest.mark.parametrize("step", ["save_file", "rename"])
def test_a_checkpoint_stays_until_the_new_one_is_complete(saved, monkeypatch, step):
    path, model = saved(seed=0)

    def broken(*args):
        raise OSError("disk full")

    if step == "save_file":
        monkeypatch.setattr(checkpoint, "save_file", broken)
    else:
        rename = type(path).rename
        monkeypatch.setattr(
            type(path),
            "rename",
            lambda self, to: (
                broken()
                if to == path and (self / "checkpoint.json").read_text().find('"seed": 1') > 0
                else rename(self, to)
            ),
        )
    with pytest.raises(OSError, match="disk full"):
        saved(seed=1)
    monkeypatch.undo()
    assert torch.equal(checkpoint.load(path).model.master.weight, model.master.weight)
    assert [p.name for p in path.parent.iterdir()] == ["model"]


@pytest.mark.parametrize("first", [True, False])
def test_a_checkpoint_that_another_run_saves_meanwhile_stays(saved, monkeypatch, tmp_path, first):
    path = tmp_path / "model" if first else saved(seed=0)[0]
    real, begun = type(path).rename, []

    def late(self, to):
        if to == path and not begun:
            begun.append(True)
            saved(seed=2)
        return real(self, to)

    monkeypatch.setattr(type(path), "rename", late)
    with pytest.raises(EngineError) as caught:
        saved(seed=1)
    assert str(caught.value) == (
        f"somebody else made {path} while this run was writing it, so this run wrote nothing "
        "there; run it again"
    )
    assert checkpoint.load(path).facts["seed"] == 2
    assert [p.name for p in path.parent.iterdir()] == ["model"]


def test_what_is_no_checkpoint_is_not_replaced(saved, tmp_path):
    (tmp_path / "data").mkdir()
    (tmp_path / "data" / "rows.csv").write_text("1")
    assert message(ValueError, saved, tmp_path / "data") == (
        f"'{tmp_path}/data' exists and is no checkpoint, so it is not replaced by one: give "
        "another path, or remove it"
    )
    assert (tmp_path / "data" / "rows.csv").read_text() == "1"


def test_a_checkpoint_without_its_weights_is_none(saved, tmp_path):
    path = tmp_path / "empty"
    path.mkdir()  # where one may be written
    saved(path)
    assert checkpoint.stored_facts(path)["source_version"] == "3"
    (path / checkpoint.WEIGHTS).unlink()
    assert checkpoint.stored_facts(path) == {}
    checkpoint.check_target(path)  # and it may be written again


def test_a_checkpoint_that_is_not_there(saved, tmp_path):
    assert message(ValueError, checkpoint.load, tmp_path / "none") == (
        f"no checkpoint at '{tmp_path}/none': checkpoint.json is not there; train one first, or "
        "correct the path"
    )
    path, _ = saved()
    (path / "model.safetensors").unlink()
    assert message(ValueError, checkpoint.load, path) == (
        f"no checkpoint at '{path}': model.safetensors is not there; train one first, or correct "
        "the path"
    )


def test_a_checkpoint_that_is_damaged(saved):
    path, _ = saved()
    facts, weights = path / "checkpoint.json", path / "model.safetensors"
    described, tensors = json.loads(facts.read_text()), weights.read_bytes()
    start = f"the checkpoint at '{path}' can't be read: "
    end = "; copy it again, or train it again"

    weights.write_bytes(tensors[:-100])
    assert message(EngineError, checkpoint.load, path) == (
        f"{start}model.safetensors is damaged (Error while deserializing header: incomplete "
        f"metadata, file not fully covered){end}"
    )
    weights.write_bytes(tensors)
    facts.write_text('{"format": 1')
    assert message(EngineError, checkpoint.load, path) == (
        f"{start}checkpoint.json is not JSON (Expecting ',' delimiter: line 1 column 13 "
        f"(char 12)){end}"
    )
    facts.write_text(json.dumps({k: v for k, v in described.items() if k != "classes"}))
    assert message(EngineError, checkpoint.load, path) == (
        f"{start}checkpoint.json is incomplete (KeyError('classes')){end}"
    )
    fewer = described | {"model": described["model"] | {"slice_names": ["short"]}}
    facts.write_text(json.dumps(fewer))
    assert message(EngineError, checkpoint.load, path) == (
        f"{start}model.safetensors does not fit checkpoint.json{end}"
    )


@pytest.mark.parametrize("text", ['{"format": 99}', "[]"])
def test_a_checkpoint_of_another_format(saved, text):
    path, _ = saved()
    (path / "checkpoint.json").write_text(text)
    version = 99 if "99" in text else None
    assert message(EngineError, checkpoint.load, path) == (
        f"the checkpoint at '{path}' is of format 99, which a newer engine wrote, and this engine "
        "reads format 1: use that engine, or train it again with this one"
        if version
        else f"the checkpoint at '{path}' is of format None, and this engine reads format 1: train "
        "it again with this version"
    )


@pytest.mark.parametrize("number", [float("nan"), float("inf"), -float("inf")])
def test_weights_that_are_no_numbers_are_refused(saved, number):
    path, model = saved()
    with torch.no_grad():
        model.master.weight[0, 0] = number
    save_file(dict(model.state_dict()), path / "model.safetensors")
    assert message(EngineError, checkpoint.load, path) == (
        f"the checkpoint at '{path}' can't be read: the weights 'master.weight' are NaN or "
        "infinite; copy it again, or train it again"
    )


@pytest.mark.parametrize(
    ("part", "value", "problem"),
    [
        ("classes", [0], "the model tells 2 classes apart, and checkpoint.json names [0]"),
        (
            "classes",
            [0, 1, 2],
            "the model tells 2 classes apart, and checkpoint.json names [0, 1, 2]",
        ),
        (
            "classes",
            [1, True],
            "the model tells 2 classes apart, and checkpoint.json names [1, True]",
        ),
        ("classes", [[], {}], "checkpoint.json is incomplete ("),
        ("classes", None, "checkpoint.json is incomplete ("),
        ("slices", {"other": "f"}, "checkpoint.json has other slices than the model: "),
        ("slices", ["short"], "checkpoint.json is incomplete ("),
        (
            "facts",
            {"seed": 9},
            "its files aren't as they were written, for their checksum is another",
        ),
        ("facts", [], "checkpoint.json is incomplete ("),
        ("base", {"kind": "mlp", "layers": 10**9}, "checkpoint.json is incomplete ("),
        ("base", {"kind": "mlp", "layers": 2, "width": 10**12}, "model.safetensors does not fit"),
        ("base", {"kind": "os.system"}, "checkpoint.json is incomplete ("),
        ("features", {"kind": "pickle"}, "checkpoint.json is incomplete ("),
        ("features", {"kind": "../../x"}, "checkpoint.json is incomplete ("),
        ("model", {}, "checkpoint.json is incomplete ("),
        ("model", {"n_classes": 3}, "checkpoint.json is incomplete ("),
    ],
)
def test_what_cannot_be_true_of_a_checkpoint_is_refused(saved, part, value, problem):
    path, _ = saved()
    facts = path / "checkpoint.json"
    facts.write_text(json.dumps(json.loads(facts.read_text()) | {part: value}))
    sentence = message(EngineError, checkpoint.load, path)
    assert sentence.startswith(f"the checkpoint at '{path}' can't be read: {problem}")
    assert sentence.endswith("; copy it again, or train it again")


@pytest.mark.parametrize("seed", range(40))
def test_a_changed_byte_of_a_checkpoint_is_refused_or_is_space(saved, seed):
    path, _ = saved()
    draw = random.Random(seed)
    file = path / draw.choice(["checkpoint.json", "model.safetensors"])
    content = bytearray(file.read_bytes())
    at = draw.randrange(len(content))
    content[at] ^= 1 << draw.randrange(8)
    whole = checkpoint.load(path)
    file.write_bytes(bytes(content))
    try:
        loaded = checkpoint.load(path)
    except EngineError as error:
        sentence = str(error)
        assert "\n" not in sentence
        return
    assert (loaded.classes, loaded.slices, loaded.facts) == (
        whole.classes, whole.slices, whole.facts
    )  # fmt: skip


@pytest.mark.slow
def test_scoring_needs_no_spark(saved):
    path, _ = saved()
    code = (
        "import sys; sys.modules['pyspark'] = sys.modules['delta'] = None\n"
        "from engine.classifier import bases, checkpoint, model, train\n"
        f"print(checkpoint.load({str(path)!r}).predict_proba(['check this', None]).shape)"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=120
    )
    assert done.stdout.strip() == "(2, 2)"


def test_a_replacement_that_was_cut_short(saved):
    path = saved(seed=0)[0]
    aside, left = path.parent / ".model.before", path.parent / f".model.{'0' * 32}"
    path.rename(aside)  # as a process leaves it that dies between two renames
    left.mkdir()
    assert checkpoint.load(path).facts["seed"] == checkpoint.stored_facts(path)["seed"] == 0
    assert checkpoint.folder_of(path) == aside
    checkpoint.settle(path)
    assert [p.name for p in path.parent.iterdir()] == ["model"]
    assert checkpoint.folder_of(path) == path
    path.rename(aside)
    saved(seed=1)
    assert checkpoint.load(path).facts["seed"] == 1
    assert [p.name for p in path.parent.iterdir()] == ["model"]
