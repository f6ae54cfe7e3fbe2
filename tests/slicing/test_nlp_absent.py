"""Without spaCy its slicing functions can't be written, and say so; nothing else needs it."""

from __future__ import annotations

import importlib.util

import pytest

from engine import NLPSlicingFunction, SpacyPreprocessor
from engine.errors import SliceError


@pytest.mark.parametrize(
    "call",
    [
        lambda: SpacyPreprocessor("text", "doc"),
        lambda: NLPSlicingFunction("n", lambda x: len(x.doc) > 3, language="blank:en"),
    ],
)
def test_spacy_is_not_installed(call, monkeypatch):
    true = importlib.util.find_spec
    monkeypatch.setattr(importlib.util, "find_spec", lambda n, *p: n != "spacy" and true(n, *p))
    with pytest.raises(SliceError) as error:
        call()
    assert str(error.value) == (
        "SpacyPreprocessor: spaCy is not installed; pip install 'slice-engine[nlp]'"
    )
