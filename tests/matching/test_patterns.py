"""Every method and matcher gives, row for row, what Python gives."""

from __future__ import annotations

import pickle
import re

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from engine.matching.dialect import translate
from engine.matching.methods import Scan, everywhere, linear, python
from engine.matching.patterns import MATCHERS, PatternSet, Search, _anchored
from engine.matching.regex import parse
from engine.matching.scan import Needle, Scanner
from engine.matching.text import TextBatch
from tests.matching.nasty import PIECES, array_of, arrays, built_from, texts

REGEX_KINDS = ("search", "match", "fullmatch")
LITERAL_KINDS = ("contains", "startswith", "endswith")


def oracle(search, array):
    """Ask Python, row by row, in the words that a user would write."""
    form = str.lower if search.form == "lower" else str
    literal = search.pattern
    ask = {
        "contains": lambda t: literal in t,
        "startswith": lambda t: t.startswith(literal),
        "endswith": lambda t: t.endswith(literal),
        "search": lambda t: bool(re.search(search.pattern, t, search.flags)),
        "match": lambda t: bool(re.match(search.pattern, t, search.flags)),
        "fullmatch": lambda t: bool(re.fullmatch(search.pattern, t, search.flags)),
    }[search.kind]
    return [t is not None and ask(form(t)) for t in array.to_pylist()]


def check(searches, array, *matchers):
    want = [oracle(s, array) for s in searches]
    for matcher in matchers or ("auto",):
        found = PatternSet(searches, matcher).run(array)
        assert found.dtype == bool
        assert found.shape == (len(searches), len(array))
        assert found.flags.c_contiguous
        for search, f, w, how in zip(
            searches, found.tolist(), want, PatternSet(searches, matcher).methods, strict=True
        ):
            assert f == w, (search, how, matcher, array.to_pylist())


FORMS = st.sampled_from(["as_is", "lower"])
literals = st.sampled_from(PIECES) | texts | st.text(max_size=3)
literal_searches = st.builds(
    Search,
    st.sampled_from(LITERAL_KINDS),
    literals,
    st.just(0),
    FORMS,
)


@st.composite
def asked(draw, searches=literal_searches, most=8):
    """Searches, and rows in which what they look for is likely."""
    some = draw(st.lists(searches, min_size=1, max_size=most))
    rows = st.lists(st.none() | built_from(*(s.pattern for s in some)), max_size=10)
    return some, array_of(draw(rows), draw(st.integers(0, 2)), draw(st.booleans()))


@given(asked())
def test_literals(case):
    searches, array = case
    check(searches, array, *MATCHERS)


@given(st.lists(st.sampled_from(list("abAB\n€é😀\x00")), min_size=1, max_size=40), st.data())
def test_all_pieces_of_a_text(characters, data):
    """Rows are cut out of the text at random; literals are pieces that may cross the cuts."""
    text = "".join(characters)
    places = st.integers(0, len(text))
    cuts = sorted(data.draw(st.lists(places, max_size=8)))
    rows = [text[a:b] for a, b in zip([0, *cuts], [*cuts, len(text)], strict=True)]
    spans = data.draw(st.lists(st.tuples(places, st.integers(1, 24)), min_size=1, max_size=20))
    searches = [Search(k, text[a : a + n]) for a, n in spans for k in LITERAL_KINDS]
    check(searches, array_of(rows), "each", "table")


@given(st.lists(st.text("ab", min_size=1, max_size=30), min_size=1, max_size=30, unique=True))
def test_literals_that_begin_alike(words):
    rows = ["".join(words[i:]) for i in range(len(words))]
    check([Search("contains", w) for w in words], pa.array(rows), *MATCHERS)


@given(
    st.lists(st.text("abAB", min_size=1, max_size=20), min_size=1, max_size=20),
    st.lists(st.text("abABé", max_size=40), max_size=6),
    st.sampled_from([0, 1 << 30]),
)
def test_the_scanner_finds_all_hits(words, rows, few):
    needles = list(
        dict.fromkeys([*(Needle(w.encode()) for w in words)]
                      + [Needle(w.lower().encode(), any_case=True) for w in words])
    )  # fmt: skip
    text = TextBatch(pa.array(rows, pa.string()))
    hits = Scanner(needles, few).hits(text)
    for i, needle in enumerate(needles):
        want = []
        for row, value in enumerate(rows):
            raw = value.encode().lower() if needle.any_case else value.encode()
            at = [p for p in range(len(raw)) if raw.startswith(needle.text, p)]
            want += [(int(text.offsets[row]) + p, row) for p in at]
        position, row = hits.of(i)
        assert list(zip(position.tolist(), row.tolist(), strict=True)) == want


# --- regular expressions

LETTERS = "abkisKIS"
atoms = st.one_of(
    st.sampled_from(list(LETTERS)),
    st.sampled_from(["check", "out", "ab", "kiss", r"\.", "-", "0", "é", "É", "😀", "ß", "ſ", "İ"]),
    st.sampled_from([".", r"\w", r"\W", r"\d", r"\D", r"\s", r"\S", r"\n", " "]),
    st.sampled_from(["[ab]", "[^ab]", "[A-Z]", r"[\w.]", "[kK]", "[^k]", "[é-ü]", r"[\s\S]",
    "[0-9]"]),
    st.sampled_from([r"\b", "^", "$", r"\A", r"\Z", r"\B"]),
)  # fmt: skip
quantifiers = st.sampled_from(["*", "+", "?", "{2}", "{1,3}", "{2,}", "*?", "+?", "??", "{0,2}?"])
groups = st.sampled_from(
    ["(?:%s)", "(%s)", "(?i:%s)", "(?a:%s)", "(?s-i:%s)", "(?=%s)", "(?!%s)", "(?<=a)%s", "(?>%s)"]
)


def quantified(part, quantifier):
    return f"(?:{part}){quantifier}"


regexes = st.recursive(
    atoms,
    lambda inner: st.one_of(
        st.lists(inner, min_size=1, max_size=4).map("".join),
        st.lists(inner, min_size=2, max_size=3).map(lambda parts: f"(?:{'|'.join(parts)})"),
        st.builds(quantified, inner, quantifiers),
        st.builds(quantified, atoms, quantifiers),
        st.tuples(inner, inner).map(".*".join),
        st.tuples(inner, inner).map(".+".join),
        st.builds(lambda g, p: g % p, groups, inner),
    ),
    max_leaves=6,
)
flags = st.sampled_from([0, re.I, re.M, re.S, re.A, re.I | re.A, re.I | re.M, re.I | re.S, re.U])


def compiles(search):
    try:
        re.compile(search.pattern, search.flags)
    except re.error:
        return False
    return True


regex_searches = st.builds(
    Search, st.sampled_from(REGEX_KINDS), regexes, flags, st.sampled_from(["as_is", "lower"])
).filter(compiles)
subjects = st.lists(
    st.sampled_from([*LETTERS, "check", "out", "ab", "kiss", ".", "-", "0", " ", "\n", "_"])
    | st.sampled_from(PIECES),
    max_size=8,
).map("".join)
subject_arrays = st.builds(array_of, st.lists(st.none() | subjects, max_size=10), st.integers(0, 2))


@settings(max_examples=400)
@given(st.lists(regex_searches, min_size=1, max_size=4), subject_arrays)
def test_regexes(searches, array):
    check(searches, array, "auto", "table")


@settings(max_examples=300)
@given(regex_searches, subject_arrays)
def test_re2_agrees_wherever_it_is_used(search, array):
    translation = translate(_anchored(search))
    if translation is None or search.form != "as_is":
        return
    scan = Scan(TextBatch(array), Scanner([]).hits(TextBatch(array)), {})
    out = np.zeros(len(array), dtype=bool)
    everywhere(linear(translation, python(search.ask))).answer(scan, out)
    assert out.tolist() == oracle(search, array)


ROWS = array_of(
    [
        "see bit.ly/x", "see .ly", "é.ly", "😀.ly", "\u0301.ly", "a.ly b.ly", "_.ly",
        "a\x1f.ly", None,
        "check it out", "CHEC\u212a it out", "Check\nout", "checkout", "out check",
        "check\r out", "",
        "check check out out", "check", "out", "Please PLEASE", "plea", "se please", "KISS",
        "\u212aiss",
        "ki\u017fs", "k\u0130ss", "k\u0131ss", "call 555-1234", "555-123", "٥٥٥-1234", "5555-12345",
        "www.a.b", "http://x", "https://x", "ftp://x", "word  12", "word\u200312", "word 12",
        "word x",
        "foo bar", "FOObar", "foo 1234567890bar", "foo 12345678901bar", "foo\nbar", "a b\n",
        "a b", "b\n\n",
        "x" * 5000 + ".ly", "\x00", "a\x00b", "SHOUT", "SHOUTING LOUDLY", "Ab", "12345",
        "1234", "x12345x",
    ],
    sliced=2,
)  # fmt: skip

# Python needs exponential time for some of the expressions below.
SHORT = array_of([t for t in ROWS.to_pylist() if t is None or len(t) <= 14], sliced=1)

# How a search is answered, and that the answer is Python's.
METHODS = [
    ("literal", Search("contains", "please")),
    ("literal", Search("contains", "please", form="lower")),
    ("literal", Search("contains", "é")),
    ("always", Search("contains", "")),
    ("never", Search("contains", "a\ud800")),
    ("never", Search("startswith", "\udfff")),
    ("literal at the start", Search("startswith", "check")),
    ("literal at the end", Search("endswith", "out")),
    ("always", Search("endswith", "")),
    ("literal", Search("search", "please")),
    ("literal", Search("search", "please|plea|www")),
    ("literal", Search("search", "please", re.I)),
    ("fixed window", Search("search", r"\w+\.ly")),
    ("fixed window", Search("search", r"\bplease\b", re.I)),
    ("fixed window", Search("search", r"\b(?:please|out)\b")),
    ("fixed window", Search("search", r"https?://\S+")),
    ("fixed window", Search("search", r"\d{3}-\d{4}")),
    ("fixed window", Search("search", r"\b\d{5}\b")),
    ("fixed window", Search("search", "^check")),
    ("fixed window", Search("search", "out$")),
    ("fixed window", Search("search", "^out$", re.M)),
    ("fixed window", Search("match", "check")),
    ("fixed window", Search("fullmatch", "check|out")),
    ("fixed window", Search("search", r"kiss\B", re.I)),
    ("windows in order", Search("search", "check.*out", re.I)),
    ("windows in order", Search("search", "check.+out")),
    ("windows in order", Search("search", "check.*out", re.S)),
    ("windows in order", Search("search", r"\bcheck.*c.*out\b")),
    ("literals then re", Search("search", r"word\s+\d+")),
    ("literals then re", Search("search", "(?i)foo.{0,10}bar$(?!x)")),
    ("literals then re", Search("search", r"(kis)\1|(check) \2")),
    ("literals then RE2", Search("search", r"(?:please\w*\s*)+$")),
    ("RE2", Search("search", r"(\w+\s?)*$")),
    ("RE2", Search("fullmatch", r"[a-z ]+")),
    ("RE2", Search("search", r"[a-z]{4,}")),
    ("RE2 on ASCII rows, else re", Search("search", r"(?:\b\w+\s?)*$")),
    ("re per row", Search("search", r"(\w)\1")),
    ("re per row", Search("search", "(?<=e)(?!x)")),
]


@pytest.mark.parametrize(
    ("how", "search"), METHODS, ids=[f"{s.kind} {s.pattern!r}" for _, s in METHODS]
)
def test_the_method_of_a_search_and_its_answer(how, search):
    assert PatternSet([search]).methods == (how,)
    check([search], SHORT if "RE2" in how else ROWS, *MATCHERS)


def test_all_searches_at_once_and_asked_again():
    searches = [s for _, s in METHODS]
    check([*searches, *searches[::-1]], SHORT, *MATCHERS)


@given(arrays)
def test_tutorial_questions(array):
    check(
        [
            Search("search", r"\w+\.ly"),
            Search("contains", "subscribe", form="lower"),
            Search("contains", "please", form="lower"),
            Search("contains", "plz", form="lower"),
            Search("search", r"check.*out", re.IGNORECASE),
        ],
        array,
        *MATCHERS,
    )


def test_a_set_pickles_and_answers_the_same():
    patterns = PatternSet([s for _, s in METHODS], "table")
    before = patterns.run(SHORT)
    again = pickle.loads(pickle.dumps(patterns))
    assert (again.searches, again.matcher) == (patterns.searches, "table")
    assert (again.run(SHORT) == before).all()


def test_a_shared_batch_and_no_rows():
    patterns = PatternSet([s for _, s in METHODS])
    assert (patterns.run(TextBatch(SHORT)) == patterns.run(SHORT)).all()
    assert patterns.run(pa.array([], pa.string())).shape == (len(METHODS), 0)
    assert not patterns.run(pa.nulls(3, pa.large_string())).any()
    assert PatternSet([]).run(SHORT).shape == (0, len(SHORT))


def test_very_long_rows_and_many_literals():
    words = [f"w{i:04d}x" for i in range(2000)]
    rows = [" ".join(words[i::7]) * 3 for i in range(7)] + ["w00", "😀" * 50_000 + words[5]]
    check([Search("contains", w) for w in words], array_of(rows), "auto")


def test_an_expression_that_does_not_compile_is_an_error_of_re():
    with pytest.raises(re.error, match="unterminated"):
        _ = PatternSet([Search("search", "(a")]).methods


@pytest.mark.parametrize(
    ("search", "part"),
    [
        (Search("search", r"(\w+\s?)*$"), None),  # RE2 answers
        (Search("search", r"((a+)+)\1b"), "(a+)+"),
        (Search("search", r"(?:\b\w+\s?)*$"), r"(?:\b\w+\s?)*"),
        (Search("search", "a+b"), None),
        (Search("contains", "(a+)+b"), None),
    ],
)
def test_searches_that_may_take_exponential_time_are_told(search, part):
    assert PatternSet([search]).backtracking == (part,)


def test_exponential_expressions_are_answered_in_linear_time():
    text = "a" * 5000 + "!"
    found = PatternSet([Search("search", r"(a+)+$"), Search("search", r"(\w+\s?)*$")])
    assert found.run(pa.array([text, "aaa"])).tolist() == [[False, True], [True, True]]


@pytest.mark.parametrize("pattern", [r"\w", "[^\\W\\d]", "[kK]", "(?i:[j-l])", r"(?a:\w)", "é"])
def test_windows_around_one_character(pattern):
    assert isinstance(parse(pattern).ascii, frozenset)
    check([Search("search", rf"\b{pattern}\b", f) for f in (0, re.I, re.A)], ROWS)
