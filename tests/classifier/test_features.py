from __future__ import annotations

import json

import numpy as np
import pandas as pd
import pytest
import torch
from sklearn.feature_extraction.text import CountVectorizer
from torch import nn

from engine.classifier.bases import build_base
from engine.classifier.features import BagOfWords

TEXTS = ["Check THIS out", "out, out now: http://bit.ly/x", "a I é漢字 😀", ""]


def message(error, f, *args, **kwargs):
    with pytest.raises(error) as caught:
        f(*args, **kwargs)
    return str(caught.value)


@pytest.mark.parametrize(
    "settings", [{}, {"ngram_range": (1, 2)}, {"lowercase": False, "token_pattern": r"\S+"}]
)
def test_counts_are_those_of_scikit_learn(settings):
    bag, peer = BagOfWords.fit(TEXTS, **settings), CountVectorizer(**settings)
    wanted = peer.fit_transform(TEXTS).toarray()
    assert list(bag.vocabulary) == list(peer.get_feature_names_out())
    counts = bag.transform(TEXTS)
    assert counts.dtype == torch.float32
    assert np.array_equal(counts.numpy(), wanted)
    assert bag.width == wanted.shape[1]


@pytest.mark.parametrize("null", [None, float("nan"), pd.NA, pd.NaT])
def test_a_null_text_is_an_empty_one(null):
    bag = BagOfWords.fit(["one two", null])
    assert bag.transform([null, "two"]).tolist() == [[0, 0], [0, 1]]


def test_it_survives_json():
    bag = BagOfWords.fit(TEXTS, ngram_range=(1, 2), lowercase=False)
    again = BagOfWords.from_json(json.loads(json.dumps(bag.to_json())))
    assert again == bag
    assert torch.equal(again.transform(TEXTS), bag.transform(TEXTS))


def test_no_texts_have_no_features():
    assert BagOfWords.fit(["one two"]).transform([]).shape == (0, 2)


def test_texts_that_can_not_be():
    assert message(ValueError, BagOfWords.fit, ["a", 12]) == (
        "row 1 holds 12 of type int where a text is due: cast the column to text"
    )
    assert message(ValueError, BagOfWords.fit, ["a", [None]]) == (
        "row 1 holds [None] of type list where a text is due: cast the column to text"
    )
    assert message(ValueError, BagOfWords.fit, ["a", None, ""]) == (
        "no token in 3 texts matches '(?u)\\\\b\\\\w\\\\w+\\\\b', so there is no vocabulary: "
        "check the text column, or set another token_pattern"
    )


def test_what_scikit_learn_refuses_it_says_itself():
    with pytest.raises(ValueError, match="lower boundary larger than the upper boundary"):
        BagOfWords.fit(["one two"], ngram_range=(2, 1))


def test_an_mlp_has_the_layers_of_its_spec():
    base = build_base({"kind": "mlp", "layers": 2, "width": None}, 7)
    assert [type(step) for step in base.module] == [nn.Linear, nn.ReLU] * 2
    assert base.width == 7
    assert [
        p.shape for p in build_base({"kind": "mlp", "layers": 3, "width": 4}, 7).module.parameters()
    ][::2] == [(4, 7), (4, 4), (4, 4)]


@pytest.mark.parametrize(
    ("spec", "wanted"),
    [
        ({"kind": "mpl"}, "base architecture: there is no kind 'mpl'; did you mean 'mlp'?"),
        ({"layers": 2}, "base architecture: there is no kind None; known: mlp"),
        (
            {"kind": "mlp", "layer": 2},
            "base architecture: mlp has no setting 'layer'; did you mean 'layers'?",
        ),
        (
            {"kind": "mlp", "layers": 0},
            "base architecture: layers is 0, and must be a whole number of at least 1",
        ),
        (
            {"kind": "mlp", "width": "wide"},
            "base architecture: width is 'wide', and must be a whole number of at least 1",
        ),
    ],
)
def test_specs_that_can_not_be(spec, wanted):
    assert message(ValueError, build_base, spec, 7) == wanted
