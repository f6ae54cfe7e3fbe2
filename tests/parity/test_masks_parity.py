"""The tutorial's six slices on the real data: our masks are snorkel's."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import snorkel.preprocess
import snorkel.slicing
from textblob import TextBlob

import engine
from engine.project.demo_data import read_youtube_spam
from engine.slicing.discovery import load_slices

pytestmark = pytest.mark.usefixtures("both_ways")

YOUTUBE = Path(__file__).parents[3] / "shared" / "data" / "youtube-spam"


@pytest.fixture(scope="module")
def comments():
    if not YOUTUBE.is_dir():
        pytest.skip(f"the YouTube Spam Collection is not in {YOUTUBE}")
    return read_youtube_spam(YOUTUBE)


def short_link(x):
    return bool(re.search(r"\w+\.ly", x.text))


def keyword_subscribe(x):
    return "subscribe" in x.text.lower()


def keyword_lookup(x, keywords):
    return any(word in x.text.lower() for word in keywords)


def regex_check_out(x):
    return bool(re.search(r"check.*out", x.text, flags=re.I))


def short_comment(x):
    return len(x.text.split()) < 5


def textblob_sentiment(x):
    scores = TextBlob(x.text)
    x.polarity = scores.sentiment.polarity
    return x


def textblob_polarity(x):
    return x.polarity > 0.9


def six(slicing_function, slicing_class, preprocessor):
    """Make the tutorial's six slicing functions with a library's own decorators."""
    sentiment = preprocessor(memoize=True)(textblob_sentiment)
    return [
        slicing_function()(short_link),
        slicing_function()(keyword_subscribe),
        slicing_class(
            name="keyword_please",
            f=keyword_lookup,
            resources=dict(keywords=["please", "plz"]),  # noqa: C408 - the tutorial's line
        ),
        slicing_function()(regex_check_out),
        slicing_function()(short_comment),
        slicing_function(pre=[sentiment])(textblob_polarity),
    ]


@pytest.fixture(scope="module")
def both(comments):
    ours = six(engine.slicing_function, engine.SlicingFunction, engine.preprocessor)
    theirs = six(
        snorkel.slicing.slicing_function,
        snorkel.slicing.SlicingFunction,
        snorkel.preprocess.preprocessor,
    )
    return (
        engine.PandasSFApplier(ours).apply(comments, progress_bar=False),
        snorkel.slicing.PandasSFApplier(theirs).apply(comments, progress_bar=False),
    )


def test_masks_on_the_real_data_are_identical(both):
    ours, theirs = both
    assert type(ours) is type(theirs) is np.recarray
    assert ours.dtype == theirs.dtype
    assert ours.tolist() == theirs.tolist()
    assert {name: int((ours[name] == 1).sum()) for name in ours.dtype.names} == {
        name: int(theirs[name].sum()) for name in theirs.dtype.names
    }


def test_the_projects_own_slices_are_the_tutorials(comments, both):
    S = engine.PandasSFApplier(load_slices("sfs.spam")).apply(comments, progress_bar=False)
    for name in both[1].dtype.names:
        assert S[name].tolist() == both[1][name].tolist(), name


def test_sliced_frames_are_identical(comments):
    ours = engine.slicing_function()(short_link)
    theirs = snorkel.slicing.slicing_function()(short_link)
    pd.testing.assert_frame_equal(
        engine.slice_dataframe(comments, ours),
        snorkel.slicing.slice_dataframe(comments, theirs),
    )


def test_calls_of_functions_and_faults_are_alike(comments):
    def first_word(x):
        return len(x.text.split()[5]) > 4

    head = comments.head(200)
    made = [library.slicing_function(name="w")(first_word) for library in (engine, snorkel.slicing)]
    (ours, our_meta), (theirs, their_meta) = (
        library.PandasSFApplier([sf]).apply(
            head, progress_bar=False, fault_tolerant=True, return_meta=True
        )
        for library, sf in zip((engine, snorkel.slicing), made, strict=True)
    )
    assert ours.tolist() == theirs.tolist()
    assert our_meta.faults == dict(their_meta.faults)
    row = head.iloc[0]
    assert made[0](row) == made[1](row)


def test_lists_of_data_points_are_alike(comments):
    points = [row for _, row in comments.head(50).iterrows()]
    ours, theirs = (
        library.SFApplier([library.slicing_function()(short_comment)]).apply(
            points, progress_bar=False
        )
        for library in (engine, snorkel.slicing)
    )
    assert ours.tolist() == theirs.tolist()
