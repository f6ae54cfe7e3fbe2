"""Functions of pandas Series as source text, each with what it says of one row.

A function is made of atoms: an idiom of Series and the same of a value. An atom of null is null;
one that looks at null itself, or raises on it, is given it. Atoms are joined as SQL joins masks.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from random import Random

from tests.fuzz.strategies import TOKENS

# Columns of a kind, and atoms of them: of a Series, of a value. `{c}` is the column.
_ORDERS = ("==", "!=", "<", "<=", ">", ">=")
_TEXT = (
    ("{c} {order} {keyword}", "{c} {order} {keyword}"),
    ("{c}.isin({texts})", "{c} in {texts}"),
    ("{c}.str.contains({keyword}, regex=False)", "{keyword} in {c}"),
    ("{c}.str.contains({regex})", "re.search({regex}, {c}) is not None"),
    ("{c}.str.startswith({keyword})", "{c}.startswith({keyword})"),
    ("{c}.str.endswith({keyword})", "{c}.endswith({keyword})"),
    ("{c}.str.len() > {length}", "len({c}) > {length}"),
    ("{c}.str.{form}() == {keyword}", "{c}.{form}() == {keyword}"),
    ("{c}.str.{tested}()", "{c}.{tested}()"),
    ("{c}.str.count({keyword_re}) > {small}", "len(re.findall({keyword_re}, {c})) > {small}"),
    ("{c}.str.split().str.len() > {small}", "len({c}.split()) > {small}"),
    ("{c}.str.replace({letter}, '', regex=False) == {c}", "{c}.replace({letter}, '') == {c}"),
    ("{c}.str[:2] == {letter}", "{c}[:2] == {letter}"),
    ("{c} + {letter} == {keyword}", "{c} + {letter} == {keyword}"),
    ("{c}.str.strip().str.lower().isin({texts})", "{c}.strip().lower() in {texts}"),
)
_INT = (
    ("{c} {order} {small}", "{c} {order} {small}"),
    ("{c} {order} 2**31", "{c} {order} 2**31"),
    ("{c}.isin([{small}, 10, 127])", "{c} in ({small}, 10, 127)"),
    ("{c}.between(-3, {small})", "-3 <= {c} <= {small}"),
    ("{c} % 7 == {small}", "{c} % 7 == {small}"),
    ("{c}.map(lambda v: 6 // v > 1)", "6 // {c} > 1"),
    ("{c}.astype('string') == str({small})", "str({c}) == str({small})"),
)
_FLOAT = (
    ("{c} {order} {half}", "{c} {order} {half}"),
    ("{c} * 2 > {half}", "{c} * 2 > {half}"),
    ("{c}.between(-1.0, {half})", "-1.0 <= {c} <= {half}"),
    ("-{c} > {half}", "-{c} > {half}"),
)
_BOOL = (("{c}", "{c}"), ("~{c}", "not {c}"), ("{c} == True", "{c} == True"))
_DAY = (
    ("{c} {order} dt.date(2020, 6, 1)", "{c} {order} dt.date(2020, 6, 1)"),
    ("{c}.dt.year == 2020", "{c}.year == 2020"),
    ("{c}.dt.month > 6", "{c}.month > 6"),
    ("{c}.dt.day_of_week >= 5", "{c}.weekday() >= 5"),
    ("{c}.dt.date.isin([dt.date(2020, 1, 1)])", "{c} in [dt.date(2020, 1, 1)]"),
    ("{c}.dt.is_month_start", "{c}.day == 1"),
    ("pd.to_datetime({c}) >= '2020-06-01'", "{c} >= dt.date(2020, 6, 1)"),
    ("({c} - dt.date(2020, 1, 1)).dt.days > 30", "({c} - dt.date(2020, 1, 1)).days > 30"),
)
_AT = (
    ("{c} {order} '2020-06-01'", "{c} {order} dt.datetime(2020, 6, 1, tzinfo=dt.UTC)"),
    ("{c}.dt.hour < 12", "{c}.hour < 12"),
    ("{c}.dt.date > dt.date(2020, 6, 1)", "{c}.date() > dt.date(2020, 6, 1)"),
    ("{c}.dt.tz_convert('Asia/Tokyo').dt.hour < 12", "({c} + dt.timedelta(hours=9)).hour < 12"),
    ("{c} + pd.Timedelta(hours=1) > {c}", "True"),
    ("{c}.dt.microsecond == 0", "{c}.microsecond == 0"),
)
_PRICE = (
    ("{c} {order} {small}", "{c} {order} {small}"),
    ("{c} > Decimal('1.5')", "{c} > Decimal('1.5')"),
    ("{c} * 2 == {small}", "{c} * 2 == {small}"),
    ("{c}.isin([Decimal('1')])", "{c} in [Decimal('1')]"),
)
_TAGS = (("{c}.str.len() > 1", "len({c}) > 1"),)
_COLUMNS: Sequence[tuple[Sequence[str], Sequence[tuple[str, str]], str]] = (
    (("t", "u", "t0"), _TEXT, "'k'"),
    (("i8", "i16", "i32", "i64", "n0"), _INT, "3"),
    (("f32", "f64", "f0"), _FLOAT, "0.5"),
    (("b", "b0"), _BOOL, "True"),
    (("day",), _DAY, "dt.date(2020, 6, 1)"),
    (("at",), _AT, "dt.datetime(2020, 6, 1, tzinfo=dt.UTC)"),
    (("price",), _PRICE, "Decimal('1.00')"),
    (("tags",), _TAGS, ""),
)
# Given null too: `{k}` is a value of the column's kind.
_SEEN = (
    ("{c}.isna()", "{c} is None"),
    ("{c}.notna()", "{c} is not None"),
    ("{c}.fillna({k}) == {k}", "({k} if {c} is None else {c}) == {k}"),
    ("{c}.isin([{k}, None])", "{c} is None or {c} == {k}"),
)
_RAISING: Mapping[str, tuple[str, str]] = {
    "t": ("{c}.map(lambda v: len(v) > {small})", "len({c}) > {small}"),
    "u": ("{c}.apply(lambda v: v.lower() == v)", "{c}.lower() == {c}"),
    "day": ("{c}.map(lambda v: v.day > 15)", "{c}.day > 15"),
    "at": ("{c}.apply(lambda v: v.minute < 30)", "{c}.minute < 30"),
    "price": ("{c}.map(lambda v: 1 / v > 0)", "1 / {c} > 0"),
    "tags": ("{c}.map(len) > 0", "len({c}) > 0"),
}
_MOST = 3  # levels of masks joined


class _Writer:
    def __init__(self, r: Random) -> None:
        self.r = r
        self.columns: set[str] = set()

    def atom(self) -> tuple[str, str]:
        names, atoms, k = self.r.choice(_COLUMNS)
        c, kind = self.r.choice(names), self.r.randrange(8)
        self.columns.add(c)
        given = {"c": c, "k": k, "order": self.r.choice(_ORDERS)}
        given["half"] = self.r.choice(("-1.0", "0.0", "0.5", "2.5"))
        for token in ("keyword", "texts", "regex", "length", "form", "tested", "keyword_re",
                      "small", "letter"):  # fmt: skip
            given[token] = TOKENS[token](self.r)
        if kind == 0 and c in _RAISING:
            series, value = _RAISING[c]
            return series.format(**given), value.format(**given)
        if kind == 1 and k:
            series, value = self.r.choice(_SEEN)
            return series.format(**given), value.format(**given)
        series, value = (part.format(**given) for part in self.r.choice(atoms))
        return series, f"None if {c} is None else {value}"

    def mask(self, depth: int) -> tuple[str, str]:
        kind = self.r.randrange(7) if depth else 0
        if kind < 2:
            return self.atom()
        a, law_a = self.mask(depth - 1)
        if kind == 2:
            return f"~({a})", f"null_not({law_a})"
        if kind == 3:
            return f"({a}).fillna(False)", f"({law_a}) or False"
        b, law_b = self.mask(depth - 1)
        if kind == 4:
            return f"({a}) == ({b})", f"null_same({law_a}, {law_b})"
        sign, name = (("&", "null_and"), ("|", "null_or"))[kind - 5]
        return f"({a}) {sign} ({b})", f"{name}({law_a}, {law_b})"


def function(r: Random) -> str:
    """Write a function `f_N_` of Series, whose `law` says the same of a row."""
    writer = _Writer(r)
    series, law = writer.mask(_MOST)
    columns = sorted(writer.columns)
    return "\n".join(
        [
            f"def f_N_({', '.join(f'{c}: pd.Series' for c in columns)}):",
            f"    return {series}",
            "def law_N_(x):",
            f"    {', '.join(columns)}, = {', '.join(f'x.{c}' for c in columns)},",
            f"    return {law}",
            "f_N_.law = law_N_",
        ]
    )


# What laws are written with.
HELPERS = """
def null_not(a): return None if a is None else not a
def null_same(a, b): return None if a is None or b is None else bool(a) == bool(b)
def null_and(a, b): return False if a is False or b is False else None if None in (a, b) else True
def null_or(a, b): return True if a is True or b is True else None if None in (a, b) else False
"""
