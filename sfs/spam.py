"""Slices of video comments: the six of Snorkel's data slicing tutorial.

Each reads the column ``text``. A null text makes each of them null: neither in nor out.
"""

from __future__ import annotations

import re
from typing import Any

from engine import SlicingFunction, preprocessor, slicing_function


@slicing_function()
def short_link(x: Any) -> bool:
    """Comments with a shortened link of an .ly domain, which hides where it leads."""
    return bool(re.search(r"\w+\.ly", x.text))


@slicing_function()
def keyword_subscribe(x: Any) -> bool:
    """Comments that speak of subscribing, mostly to the writer's own channel."""
    return "subscribe" in x.text.lower()


def has_keyword(x: Any, keywords: list[str]) -> bool:
    """Comments that contain one of the keywords, in upper or lower case."""
    return any(word in x.text.lower() for word in keywords)


keyword_please = SlicingFunction(
    name="keyword_please",
    f=has_keyword,
    resources={"keywords": ["please", "plz"]},
    description="Comments that plead with the reader.",
)


@slicing_function()
def regex_check_out(x: Any) -> bool:
    """Comments that ask to check something out."""
    return bool(re.search(r"check.*out", x.text, flags=re.IGNORECASE))


@slicing_function()
def short_comment(x: Any) -> bool:
    """Comments of fewer than five words, which leave a model little to go by."""
    return len(x.text.split()) < 5  # noqa: PLR2004 - said in the docstring


@preprocessor(memoize=True)
def textblob_sentiment(x: Any) -> Any:
    """Add ``polarity``, TextBlob's sentiment of the text, from -1 (bad) to 1 (good)."""
    from textblob import TextBlob

    x.polarity = TextBlob(x.text).sentiment.polarity
    return x


@slicing_function(pre=[textblob_sentiment])
def textblob_polarity(x: Any) -> bool:
    """Comments full of praise, whose writers should not be taken for spammers."""
    return x.polarity > 0.9  # noqa: PLR2004 - the tutorial's threshold
