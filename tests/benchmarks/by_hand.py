"""Ten functions of the corpus's worked half, written with pyarrow.compute as an expert would."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from decimal import Decimal

import pyarrow as pa
import pyarrow.compute as pc

from tests.corpus.fraud import TO_USD
from tests.corpus.moderation import EMOJI
from tests.corpus.quality import PLACEHOLDERS

Columns = Mapping[str, pa.Array]


def long_text(x: Columns) -> pa.Array:
    return pc.greater(pc.utf8_length(x["text"]), 200)


def has_emoji(x: Columns) -> pa.Array:
    return pc.match_substring_regex(x["text"], EMOJI.pattern)


def many_tags(x: Columns) -> pa.Array:
    return pc.greater_equal(pc.fill_null(pc.list_value_length(x["tags"]), 0), 3)


def posted_at_night(x: Columns) -> pa.Array:
    hour = pc.hour(x["posted"])
    return pc.or_(pc.greater_equal(hour, 22), pc.less(hour, 6))


def one_word(x: Columns) -> pa.Array:
    trimmed = pc.utf8_trim_whitespace(x["body"])
    parts = pc.list_value_length(pc.utf8_split_whitespace(trimmed))
    return pc.and_(pc.equal(parts, 1), pc.greater(pc.binary_length(trimmed), 0))


def impossible_place(x: Columns) -> pa.Array:
    lat, lon = x["lat"], x["lon"]
    inside = pc.and_(pc.less_equal(-90, lat), pc.less_equal(lat, 90))
    return pc.invert(
        pc.and_kleene(inside, pc.and_(pc.less_equal(-180, lon), pc.less_equal(lon, 180)))
    )


def large_amount(x: Columns) -> pa.Array:
    return pc.greater(x["amount"], pa.scalar(Decimal(1000), pa.decimal128(20, 2)))


def unknown_currency(x: Columns) -> pa.Array:
    return pc.invert(pc.is_in(x["currency"], pa.array(TO_USD)))


def placeholder(x: Columns) -> pa.Array:
    email = pc.utf8_lower(pc.utf8_trim_whitespace(pc.fill_null(x["email"], "")))
    return pc.is_in(email, pa.array(sorted(PLACEHOLDERS)))


def late(x: Columns) -> pa.Array:
    shipped = x["shipped"].cast(pa.timestamp("s"), safe=False).cast(pa.date32(), safe=False)
    behind = pc.fill_null(pc.greater(shipped, x["promised"]), True)
    return pc.and_(pc.is_valid(x["promised"]), pc.or_(pc.is_null(x["shipped"]), behind))


HAND: Mapping[str, Callable[[Columns], pa.Array]] = {
    f.__name__: f
    for f in (
        long_text, has_emoji, many_tags, posted_at_night, one_word, impossible_place,
        large_amount, unknown_currency, placeholder, late,
    )
}  # fmt: skip
