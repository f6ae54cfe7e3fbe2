"""Functions over parsed texts answer what Snorkel's own do, on the same pipeline."""

from __future__ import annotations

from types import SimpleNamespace

import pandas as pd
import pytest

from engine import NLPSlicingFunction, PandasSFApplier, SFApplier, SpacyPreprocessor
from engine import nlp_slicing_function as ours

spacy = pytest.importorskip("spacy", reason="spaCy is not installed: pip install '.[nlp]'")
theirs = pytest.importorskip("snorkel.slicing.sf.nlp")

TEXTS = ["One song. Two songs", "great", "see seven films. Yes.", "great", "", "A. B. 3"]


def has_number(x):
    return any(token.like_num for token in x.doc)


def sentences(x, least):
    return len(list(x.doc.sents)) >= least


def shouts(x):
    return any(token.is_upper and token.is_alpha for token in x.doc)


@pytest.fixture
def pipeline(tmp_path):
    """A pipeline's folder, which both can load; Snorkel has one pipeline for all functions."""
    nlp = spacy.blank("en")
    nlp.add_pipe("sentencizer")
    nlp.to_disk(tmp_path / "pipeline")
    yield str(tmp_path / "pipeline")
    if hasattr(theirs.NLPSlicingFunction, "_nlp_config"):
        del theirs.NLPSlicingFunction._nlp_config


def sfs_of(function, decorator, pipeline):
    return [
        decorator(language=pipeline)(has_number),
        function("two", sentences, resources={"least": 2}, language=pipeline),
        decorator(name="loud", language=pipeline)(shouts),
    ]


def test_masks_are_snorkels(pipeline):
    from snorkel.slicing import PandasSFApplier as Theirs
    from snorkel.slicing import SFApplier as TheirsOfLists

    own = sfs_of(NLPSlicingFunction, ours, pipeline)
    other = sfs_of(theirs.NLPSlicingFunction, theirs.nlp_slicing_function, pipeline)
    df = pd.DataFrame({"text": TEXTS, "n": range(len(TEXTS))})
    mine = PandasSFApplier(own).apply(df, progress_bar=False)
    assert mine.tolist() == Theirs(other).apply(df, progress_bar=False).tolist()
    points = [SimpleNamespace(text=text) for text in TEXTS]
    listed = SFApplier(own).apply(points, progress_bar=False)
    assert listed.tolist() == TheirsOfLists(other).apply(points, progress_bar=False).tolist()
    assert mine.tolist() == listed.tolist()
    assert [sf(points[0]) for sf in own] == [sf(points[0]) for sf in other]


def test_a_preprocessor_takes_snorkels_arguments(pipeline):
    from snorkel.preprocess.nlp import SpacyPreprocessor as Theirs

    x = SimpleNamespace(title="One. Two.")
    for arguments in (
        ("title", "parsed", pipeline),
        ("title", "parsed", pipeline, ["sentencizer"]),
    ):
        own, other = (kind(*arguments)(x).parsed for kind in (SpacyPreprocessor, Theirs))
        assert own.to_json() == other.to_json()
