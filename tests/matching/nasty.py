"""Text that trips string code: borders of rows, folds, spaces beyond ASCII, control characters."""

from __future__ import annotations

import pyarrow as pa
from hypothesis import strategies as st

PIECES = (
    "", " ", "\n", "\r\n", "\x00", "\t\x0b\x0c", "\x1c", "\x1d\x1e\x1f", "\x85", "\xa0", "\u1680",
    "\u2003", "\u2028", "\u2029", "\u202f", "\u3000", "\ufeff", "İ", "ı", "ſ", "\u212a", "k",
    "K", "i",
    "I", "s", "S", "ß", "ẞ", "ŉ", "ﬁ", "Σ", "σ", "ς", "é", "e\u0301", "É", "\u0307", "٣", "५", "²",
    "€", "日本", "😀", "👍🏽", "❤️", "\U0010ffff", "a", "A", "ab", "b", "B", "0", "12", "_", "-",
    ".", "bit.ly/x", "check it out", "Check\nout", "subscribe", "PLEASE", "x" * 40, "é" * 9,
)  # fmt: skip

texts = (
    st.lists(st.sampled_from(PIECES) | st.text(max_size=3), max_size=6)
    .map("".join)
    .filter(lambda t: not any("\ud800" <= c <= "\udfff" for c in t))
)


def built_from(*pieces: str) -> st.SearchStrategy[str]:
    """Texts in which some literals, their parts and their cases are likely."""
    parts = [p for piece in pieces for p in (piece, piece[1:], piece[:-1], piece.upper())]
    own = st.sampled_from([p for p in parts if encodable(p)] or [""])
    return st.lists(own | st.sampled_from(PIECES), max_size=6).map("".join)


def encodable(text: str) -> bool:
    """Whether a Spark string can hold a text."""
    return not any("\ud800" <= c <= "\udfff" for c in text)


def array_of(rows: list[str | None], sliced: int = 0, large: bool = False) -> pa.Array:
    """Rows as Arrow: maybe from the middle of a longer array, and with garbage under nulls."""
    kind = pa.large_string() if large else pa.string()
    around: list[str | None] = ["subscribe check out bit.ly"] * sliced
    values = [*around, *rows, *around]
    full = pa.array(["garbage please 😀 12" if v is None else v for v in values], kind)
    known = pa.array([v is not None for v in values], pa.bool_()).buffers()[1]
    nulls = sum(v is None for v in values)
    buffers = [known if nulls else None, *full.buffers()[1:]]
    array = pa.Array.from_buffers(kind, len(values), buffers, nulls if nulls else 0)
    return array.slice(sliced, len(rows))


arrays = st.builds(
    array_of, st.lists(st.none() | texts, max_size=12), st.integers(0, 3), st.booleans()
)
