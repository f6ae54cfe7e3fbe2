"""Every argument of training given what it can't take: a sentence of ours, before anything runs."""

from __future__ import annotations

import dataclasses
import inspect
import itertools
import logging
import math
import typing

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest
import torch
from torch import nn

from engine import DictDataLoader, DictDataset, SlicingClassifier, Trainer, by, cross, set_seed
from engine.classifier import bases, checkpoint, heads, settings, train
from engine.classifier.checkpoint import load, save
from engine.classifier.features import kinds as features
from engine.classifier.features.kinds import fit_features
from engine.classifier.features.tabular import Tabular
from engine.classifier.features.text import BagOfWords, TfIdf
from engine.classifier.settings import TrainerConfig
from engine.errors import EngineError
from engine.project.group_settings import Classifier
from engine.project.training import check_setup
from engine.sampling import Quota

# What nothing takes but arguments of any kind; those that take one of them are told below.
JUNK = (
    None, True, 1, 0, -1, 2.5, math.nan, math.inf, "", "zzz", b"x", [], {}, [1], {"a": "b"},
    object(), np.array([1.5, 2.5]), pd.DataFrame({"a": [1]}), len,
)  # fmt: skip


def says(f, *args, **named):
    """Return the sentence with which a call is refused; None where it isn't."""
    try:
        f(*args, **named)
    except EngineError as error:
        sentence = str(error)
        assert sentence
        assert "\n" not in sentence
        return sentence
    return None


def message(f, *args, **named):
    sentence = says(f, *args, **named)
    assert sentence is not None, "it was not refused"
    return sentence


# The matrix: every argument x everything wrong ends in a sentence, or is taken as it is.


@pytest.mark.parametrize("name", [f.name for f in dataclasses.fields(TrainerConfig)])
def test_every_setting_of_a_trainer(name):
    refused = [says(Trainer, **{name: junk}) for junk in JUNK]
    assert sum(sentence is not None for sentence in refused) >= 12
    assert all(sentence.startswith(f"Trainer: {name} is ") for sentence in refused if sentence)


MODEL_ARGUMENTS = list(inspect.signature(SlicingClassifier.__init__).parameters)[1:]


def model(**changed):
    given = {"base_architecture": nn.Linear(6, 4), "head_dim": 4, "slice_names": ["a", "b"]}
    return SlicingClassifier(**{**given, **changed})


@pytest.mark.parametrize("name", MODEL_ARGUMENTS)
def test_every_argument_of_a_model(name):
    refused = [says(model, **{name: junk}) for junk in JUNK]
    assert sum(sentence is not None for sentence in refused) >= 10
    assert all(
        sentence.startswith(f"SlicingClassifier: {name} is ") for sentence in refused if sentence
    )


@pytest.mark.parametrize("fit", [BagOfWords.fit, TfIdf.fit])
def test_every_argument_of_text_features(fit):
    names = list(inspect.signature(fit).parameters)[1:]
    for name, junk in itertools.product(names, JUNK):
        sentence = says(fit, ["out now", "here out"], **{name: junk})
        assert sentence is None or sentence.startswith(("features: ", "no token in "))
    refused = [says(fit, ["out now"], **{n: j}) for n, j in itertools.product(names, JUNK)]
    assert sum(sentence is not None for sentence in refused) > 10 * len(names)


@pytest.mark.parametrize("name", ["numeric", "category", "max_levels", "key"])
def test_every_argument_of_tabular_features(name):
    rows = pa.table({"age": [1.0, 2.0], "city": ["a", "b"]})
    refused = [says(Tabular.fit, rows, **{"numeric": ["age"], name: junk}) for junk in JUNK]
    assert sum(sentence is not None for sentence in refused) >= 12


@pytest.mark.parametrize(("kinds", "make"), [
    (settings.BASES, lambda spec: bases.build_base(spec, 5)),
    (settings.FEATURES, lambda spec: fit_features(spec, pa.table({"text": ["out now"]}), "text")),
])  # fmt: skip
def test_every_setting_of_a_spec(kinds, make):
    for kind, spec in kinds.items():
        rules = settings.rules_of(spec)
        for name, junk in itertools.product(rules, JUNK):
            sentence = says(make, {"kind": kind, name: junk})
            if rules[name].broken(junk):
                assert sentence is not None
                assert sentence.startswith(("base architecture: ", "features: "))
    for junk in JUNK:
        assert says(make, junk) is not None
        assert says(make, {"kind": junk}) is not None


@pytest.mark.parametrize("name", ["batch_size", "num_workers", "shuffle", "drop_last", "sampler",
                                  "batch_sampler", "generator", "collate_fn", "pin_memory",
                                  "timeout", "persistent_workers", "prefetch_factor"])  # fmt: skip
def test_every_setting_of_a_loader(name):
    data = DictDataset.from_tensors(torch.eye(3), torch.tensor([0, 1, 1]), "train")
    for junk in (0, -1, 2.5, "zzz"):
        sentence = says(DictDataLoader, data, **{name: junk})
        assert sentence is None or sentence.startswith("the loader of data set 'SliceDataset': ")


def test_every_argument_of_a_data_set():
    good = {
        "name": "d", "split": "train", "X_dict": {"x": torch.eye(3)},
        "Y_dict": {"task": torch.zeros(3)}, "keys": None,
    }  # fmt: skip
    for name, junk in itertools.product(good, JUNK):
        says(DictDataset, **{**good, name: junk})
    for junk in JUNK:
        says(DictDataset.from_tensors, junk, torch.zeros(3), "train")
        says(DictDataset.from_tensors, torch.eye(3), junk, "train")


def test_every_argument_of_what_a_model_does(make):
    parts = make()
    calls = {
        "make_slice_dataloader": [(junk, parts.S) for junk in JUNK]
        + [(parts.data, junk) for junk in JUNK],
        "predict": [(junk,) for junk in JUNK],
        "predict_proba": [(junk,) for junk in JUNK if not isinstance(junk, dict)],
        "score": [(junk,) for junk in JUNK if not _empty_list(junk)],
        "score_slices": [(junk,) for junk in JUNK if not _empty_list(junk)],
        "add_slices": [(junk,) for junk in JUNK if not _empty_list(junk)],
        "train_only": [(junk,) for junk in JUNK if junk is not None and not _empty_list(junk)],
    }
    for name, given in calls.items():
        for arguments in given:
            assert says(getattr(parts.model, name), *arguments) is not None, (name, arguments)
    trainer = Trainer(progress_bar=False)
    for junk in JUNK:
        assert says(trainer.fit, junk, [parts.loader]) is not None
        assert says(trainer.fit, parts.model, junk) is not None
        assert says(set_seed, junk) is not None or junk in (0, 1)


def _empty_list(junk):
    return isinstance(junk, list) and not junk


def test_every_argument_of_a_quota_and_of_slices_by_value():
    for name, junk in itertools.product(("per_slice", "overall", "per_class", "kind"), JUNK):
        sentence = says(Quota, **{"per_slice": 1, "overall": 1, name: junk})
        assert sentence is not None or (junk == 1 and junk is not True)
    for junk in JUNK:
        says(by, "sex", junk)
        says(by, junk, ["a"])
        says(by, "sex", ["a"], top=junk)
        says(cross, "sex", "age", values=junk if isinstance(junk, list) else [junk])


# Sentences


@pytest.mark.parametrize(
    ("f", "wanted"),
    [
        (lambda: model(n_classes=1),
         "SlicingClassifier: n_classes is 1, and must be a whole number of at least 2"),
        (lambda: model(slice_names="abc"),
         "SlicingClassifier: slice_names is 'abc', and must be a list of slice names: write "
         "['abc']"),
        (lambda: model(slice_names=["a", "a"]), "slice_names has 'a' twice; each slice has one "
         "head"),
        (lambda: model(head_dim=0),
         "SlicingClassifier: head_dim is 0, and must be a whole number of at least 1"),
        (lambda: model(device="cdua"),
         "SlicingClassifier: device is 'cdua', and torch has no such device here: use 'cpu'"),
        (lambda: model(base_architecture="mlp"),
         "SlicingClassifier: base_architecture is 'mlp', and must be a torch.nn.Module"),
        (lambda: model(scorer="f1"), "SlicingClassifier: scorer is 'f1', and must be a Scorer"),
        (lambda: model(input_data_key=[]),
         "SlicingClassifier: input_data_key is [], and must be a field's name, or a list of them"),
        (lambda: model().train_only("a"),
         "SlicingClassifier: train_only is 'a', and must be a list of slice names: write ['a']"),
        (lambda: model().predict_proba(torch.ones(2, 6)),
         "X_dict is a Tensor, and must be a dict"),
        (lambda: Trainer(n_epochs="3"),
         "Trainer: n_epochs is '3', and must be a whole number of at least 1"),
        (lambda: Trainer(lr=math.nan), "Trainer: lr is nan, and must be a number"),
        (lambda: Trainer(seed=-1),
         "Trainer: seed is -1, and must be a whole number from 0 to 4294967295, or None"),
        (lambda: Trainer(resume="no"), "Trainer: resume is 'no', and must be True or False"),
        (lambda: Trainer(folder=3), "Trainer: folder is 3, and must be a path, or None"),
        (lambda: Trainer(train_split=None), "Trainer: train_split is None, and must be text"),
        (lambda: set_seed("a"),
         "Trainer: seed is 'a', and must be a whole number from 0 to 4294967295"),
        (lambda: bases.build_base("mlp", 5),
         "base architecture: it is 'mlp', and must be settings: {'kind': 'mlp'}, say"),
        (lambda: settings.TabularMlpSpec(dropout=1.5),
         "base architecture: dropout is 1.5, and must be from 0 to below 1"),
        (lambda: Tabular.fit(pa.table({"age": [1]}), numeric="age"),
         "features: numeric is 'age', and must be a list of columns: write ['age']"),
        (lambda: TfIdf.fit(["a"], token_pattern="("),
         "features: token_pattern is '(', and must be a regular expression with one group at most"),
        (lambda: Quota(per_slice=1, overall=1, kind="quotas"),
         "sample.kind: there is no kind 'quotas'; did you mean 'quota'?"),
        (lambda: by("sex"),
         "slice 'sex': give the column's values to slice by: by('sex', df['sex']), say, or "
         "by('sex', ['F', 'M'])"),
        (lambda: by("sex", ["a"], top=0),
         "slice 'sex': top must be a whole number of at least 1, found 0"),
        (lambda: cross("sex", "age", values=[("a",)]),
         "slice 'sex x age': ('a',) is not a value of each of sex, age"),
    ],
)  # fmt: skip
def test_what_it_says(f, wanted):
    assert message(f) == wanted


def test_what_data_sets_and_loaders_say(make):
    parts = make()
    assert message(DictDataset, "d", "train", torch.eye(3), {}) == (
        "X_dict is a Tensor, and must be a dict: name the fields, {'input_data': values}"
    )
    assert message(DictDataset, "d", "train", {"x": 3}, {}) == (
        "field 'x' is an int, and must be one value per row"
    )
    assert message(DictDataset.from_tensors, np.eye(3), torch.zeros(3), "train") == (
        "X_tensor is a ndarray, and must be a Tensor: wrap it with torch.as_tensor"
    )
    loader = "the loader of data set 'SliceDataset': "
    for size in (0, -1, 2.5, True):
        assert message(DictDataLoader, parts.data, batch_size=size) == (
            f"{loader}batch_size is {size}, and must be a whole number of at least 1"
        )
    for shuffle in ("no", torch.ones(2), 0.5):
        assert message(DictDataLoader, parts.data, shuffle=shuffle).startswith(
            f"{loader}shuffle is {shuffle!r}, and must be True or False"
        )
    assert message(DictDataLoader, parts.data, bacth_size=2) == (
        f"{loader}no setting 'bacth_size'; did you mean 'batch_size'?"
    )
    assert message(DictDataLoader, parts.data, collate_fn=len) == (
        f"{loader}it makes its batches itself: no collate_fn"
    )
    assert message(parts.model.make_slice_dataloader, parts.data, {"short": [1]}) == (
        "S is a dict, and must be a numpy record array with a mask per slice: "
        "PandasSFApplier(sfs).apply(df) gives one, df.to_records(index=False) too"
    )
    assert message(Trainer(progress_bar=False).fit, parts.model, parts.loader) == (
        "dataloaders is a DictDataLoader, and must be a list of DictDataLoaders: write [dataloader]"
    )
    assert message(parts.model.score, [parts.data]) == (
        "dataloaders[0] is a DictDataset, and must be a DictDataLoader"
    )
    nothing = DictDataset.from_tensors(torch.empty(0, 6), torch.empty(0).long(), "train")
    empty = parts.model.make_slice_dataloader(nothing, parts.S[:0], batch_size=4, shuffle=True)
    assert message(Trainer(progress_bar=False).fit, parts.model, [empty]) == (
        "nothing can be learned from data set 'SliceDataset': it has no rows"
    )
    few = parts.model.make_slice_dataloader(parts.data, parts.S, batch_size=64, drop_last=True)
    assert message(Trainer(progress_bar=False).fit, parts.model, [few]) == (
        "nothing can be learned from data set 'SliceDataset': it has fewer rows than a batch, and "
        "drop_last is set"
    )


def test_what_a_base_that_does_not_fit_says(make):
    def fit(base, **changed):
        parts = make()
        model = SlicingClassifier(base, 5, ["short", "link"])
        data = DictDataset(parts.data.name, "train", {**parts.data.X_dict, **changed},
                           parts.data.Y_dict)  # fmt: skip
        return message(
            Trainer(progress_bar=False).fit, model, [model.make_slice_dataloader(data, parts.S)]
        )

    class First(nn.Module):
        def forward(self, x):
            return x[:1, :5]

    assert fit(First()) == (
        "base_architecture gives 1 rows for a batch of 2: it must give one row for each, in their "
        "order"
    )
    assert fit(nn.Linear(7, 5)).replace("addmm: ", "") == (
        "base_architecture can't read a batch whose fields are input_data [2, 6] float32: "
        "RuntimeError: mat1 and mat2 shapes cannot be multiplied (2x6 and 7x5); change its first "
        "layer, the fields, or input_data_key"
    )
    texts = [f"text {i}" for i in range(40)]
    assert fit(nn.Linear(6, 5), input_data=texts).startswith(
        "base_architecture can't read a batch whose fields are input_data a list: TypeError: "
    )
    assert fit(nn.Flatten(0)) == (
        "base_architecture gives an output of 1 dimensions, [12], and head_dim is 5: the output "
        "must be [batch, 5]; change head_dim, or the base's last layer"
    )


def test_what_rows_that_the_base_does_not_fit_say_in_predictions(make):
    model = make().model
    wide = DictDataset.from_tensors(torch.ones(3, 9), torch.zeros(3, dtype=torch.long), "test")
    loader = DictDataLoader(wide, batch_size=3)
    for call, given in (
        (model.predict_proba, {"input_data": torch.ones(3, 9)}),
        (model.predict, loader),
        (model.score, [loader]),
        (model.score_slices, [loader]),
    ):
        assert message(call, given).replace("addmm: ", "") == (
            "base_architecture can't read a batch whose fields are input_data [3, 9] float32: "
            "RuntimeError: mat1 and mat2 shapes cannot be multiplied (3x9 and 6x5); change its "
            "first layer, the fields, or input_data_key"
        )


# What is taken now


@pytest.mark.parametrize("dtype", [torch.float64, torch.float16])
def test_features_of_another_precision_train_as_those_of_the_weights_do(make, dtype):
    one, other = make(), make()
    data = DictDataset.from_tensors(one.X.to(dtype).float(), one.Y, "train")
    wide = DictDataset.from_tensors(one.X.to(dtype), one.Y, "train")
    for parts, rows in ((one, data), (other, wide)):
        Trainer(progress_bar=False, seed=1).fit(
            parts.model, [parts.model.make_slice_dataloader(rows, parts.S, batch_size=16)]
        )
    for a, b in zip(one.model.parameters(), other.model.parameters(), strict=True):
        assert torch.equal(a, b)
    fields = {"input_data": one.X.to(dtype)}
    assert other.model.predict_proba(fields).dtype == np.float32


def test_numbers_of_numpy_are_features(make):
    parts = make()
    rows = parts.X.double().numpy()
    rows.flags.writeable = False
    data = DictDataset("d", "train", {"input_data": rows}, {"task": parts.Y})
    loader = parts.model.make_slice_dataloader(data, parts.S, batch_size=40)
    assert torch.equal(next(iter(loader))[0]["input_data"].float(), parts.X)
    Trainer(progress_bar=False).fit(parts.model, [loader])


def test_a_last_batch_of_one_row_is_left_out_where_a_base_normalises_batches(make):
    parts = make(n=33)
    base = nn.Sequential(nn.Linear(6, 5), nn.BatchNorm1d(5), nn.ReLU())
    model = SlicingClassifier(base, 5, ["short", "link"])
    loader = model.make_slice_dataloader(parts.data, parts.S, batch_size=16)
    trainer = Trainer(progress_bar=False, n_epochs=2)
    trainer.fit(model, [loader])
    assert [log.step for log in trainer.history] == [3, 6]
    assert int(base[1].num_batches_tracked) == 4
    assert all(p.isfinite().all() for p in model.parameters())


def test_one_class_and_no_label_are_said(make, caplog):
    for label, wanted in (
        (0, "Trainer: all training labels of 'task' are 0: there is nothing to tell apart"),
        (-1, "Trainer: no training row has a label of 'task': its head learns nothing"),
    ):
        parts = make()
        data = DictDataset.from_tensors(parts.X, torch.full((40,), label), "train")
        caplog.clear()
        with caplog.at_level(logging.WARNING):
            Trainer(progress_bar=False).fit(
                parts.model, [parts.model.make_slice_dataloader(data, parts.S)]
            )
        assert wanted in caplog.messages


def test_rows_without_labels_are_predicted(make):
    parts = make()
    data = DictDataset("new", "test", {"input_data": parts.X}, {})
    assert len(data) == 40
    (batch, labels), *_ = DictDataLoader(data, batch_size=40)
    assert labels == {}
    assert parts.model.predict_proba(batch).shape == (40, 2)


def test_numbers_of_numpy_are_settings(make, tmp_path):
    trainer = Trainer(
        n_epochs=np.int64(1), lr=np.float32(0.5), folder=tmp_path, progress_bar=False,
        seed=np.int64(3),
    )  # fmt: skip
    parts = make()
    trainer.fit(parts.model, [parts.loader])
    assert (type(trainer.config.n_epochs), trainer.config.lr) == (int, 0.5)
    model = SlicingClassifier(
        nn.Linear(6, 4), np.int64(4), np.array(["a", "b"]), class_weights=torch.tensor([1.0, 2.0])
    )
    assert (type(model.head_dim), model.head_names) == (int, ("a", "b", "base"))


def test_places_that_can_not_be_written(make, tmp_path):
    parts = make()
    file = tmp_path / "file"
    file.write_text("")

    def fit(**where):
        return says(Trainer(progress_bar=False, **where).fit, parts.model, [parts.loader])

    assert fit(log=tmp_path) == (
        f"Trainer: log is '{tmp_path}', which is a folder, and must be a file"
    )
    assert fit(folder=file) == f"Trainer: folder is '{file}', which is a file"
    assert fit(folder=file / "below") == (
        f"Trainer: folder is '{file / 'below'}', which can't be made: Not a directory"
    )
    assert fit(log=tmp_path / "new" / "log.jsonl") is None
    assert (tmp_path / "new" / "log.jsonl").exists()


# Checkpoints


@pytest.fixture
def saved(make, tmp_path):
    parts = make()
    bag = BagOfWords.fit(["a1 b1 c1 d1 e1 f1"])
    folder = tmp_path / "model"
    spec = {"kind": "mlp", "layers": 1, "width": 5}
    model = SlicingClassifier(bases.build_base(spec, 6).module, 5, ["short"])
    about = {
        "features": bag, "base": spec, "classes": [0, 1], "slices": {"short": "x"}, "facts": {},
    }  # fmt: skip
    save(folder, model, **about)
    assert parts
    return folder, model, about


def test_what_saving_refuses(saved, tmp_path):
    _, model, about = saved

    def refused(**changed):
        return message(save, tmp_path / "other", model, **{**about, **changed})

    assert refused(classes=[0]) == (
        "classes are [0], and the model has 2: give the label of each, in the model's order"
    )
    assert refused(facts={"when": {1, 2}}) == (
        "the checkpoint can't be written as JSON: Object of type set is not JSON serializable; "
        "base, classes, slices and facts must be texts, numbers, lists and dicts"
    )
    assert refused(features=3) == (
        "features is an int, and must be one of BagOfWords, TfIdf, Tabular"
    )
    assert message(save, tmp_path / "other", None, **about) == (
        "model is None, and must be a SlicingClassifier"
    )
    assert not (tmp_path / "other").exists()


@pytest.mark.parametrize("content", ["", "[]", "3", "{}", '{"format": 1}', "nan",
                                     '{"format": 1, "features": {"kind": "x"}}',
                                     '{"format": 1, "features": 3}'])  # fmt: skip
def test_a_damaged_description_is_said(saved, content):
    folder, *_ = saved
    (folder / checkpoint.FACTS).write_text(content)
    assert message(load, folder).startswith(f"the checkpoint at '{folder}' ")


@pytest.mark.parametrize("keep", [0, 1, 100, -1])
def test_damaged_weights_are_said(saved, keep):
    folder, *_ = saved
    whole = (folder / checkpoint.WEIGHTS).read_bytes()
    (folder / checkpoint.WEIGHTS).write_bytes(whole[:keep])
    assert message(load, folder).startswith(
        f"the checkpoint at '{folder}' can't be read: model.safetensors is damaged ("
    )


def test_what_loading_and_scoring_refuse(saved, tmp_path):
    folder, *_ = saved
    assert message(load, tmp_path / "gone").startswith("no checkpoint at ")
    assert message(load, folder / checkpoint.FACTS).startswith("no checkpoint at ")
    assert message(load(folder).score, ["a1"], batch_size=0) == (
        "SlicingClassifier: batch_size is 0, and must be a whole number of at least 1"
    )


# The project file


@pytest.mark.parametrize(
    ("changed", "wanted"),
    [
        ({"monitor": "shrt/f1"}, "monitor 'shrt/f1' can't be computed: there is no slice 'shrt'; "
         "did you mean 'short'?; it is '<slice>/<metric>' or 'overall/<metric>' on the valid "
         "split"),
        ({"slice_weights": {"lnk": 2}},
         "SlicingClassifier: slice_weights is {'lnk': 2.0}; did you mean 'link'?"),
        ({"device": "cuda:99"},
         "Trainer: device is 'cuda:99', and torch has no such device here: use 'auto' or 'cpu'"),
    ],
)  # fmt: skip
def test_what_a_project_can_only_be_told_with_its_slices(changed, wanted):
    assert message(check_setup, Classifier(**changed), ["short", "link"], 2) == wanted


def test_names_that_load_no_torch_are_those_of_the_tables():
    assert tuple(train.OPTIMIZERS) == settings.OPTIMIZER_NAMES
    assert tuple(heads.ATTENTIONS) == settings.ATTENTION_NAMES
    assert settings.BASES.keys() == bases.BASES.keys()
    assert settings.FEATURES.keys() == features.FEATURES.keys()
    for kind, cls in features.FEATURES.items():
        names = settings.rules_of(settings.FEATURES[kind]).keys()
        assert names == set(list(inspect.signature(cls.fit).parameters)[1:])
    for kind, spec in (settings.BASES | settings.FEATURES).items():
        assert spec().kind == kind
    assert settings.TRAINER.keys() == {f.name for f in dataclasses.fields(TrainerConfig)}
    assert settings.MODEL.keys() <= typing.get_type_hints(SlicingClassifier).keys() | {
        *MODEL_ARGUMENTS
    }
