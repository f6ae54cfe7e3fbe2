"""What is told of a regular expression: sets of characters, required literals, ambiguous loops."""

from __future__ import annotations

import re

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pytest
from hypothesis import given
from hypothesis import strategies as st

from engine.matching.charsets import FOLD_TO_ASCII, Charset
from engine.matching.dialect import translate
from engine.matching.regex import At, Choice, Joined, Opaque, Repeat, backtracks, parse, required
from engine.matching.text import beyond_ascii
from engine.matching.windows import chains

EVERY = "".join(map(chr, (*range(0x80), *beyond_ascii())))


@pytest.mark.parametrize(
    ("pattern", "flags"),
    [
        (r"\w", 0), (r"\w", re.A), (r"\W", re.I), (r"\s", 0), (r"\s", re.A), (r"\d", 0), (".", 0),
        (".", re.S), ("[^k]", 0), ("[^k]", re.I), ("[a-k]", re.I), ("[a-k]", re.I | re.A), ("é", 0),
        ("é", re.I), ("k", re.I), ("s", re.I | re.A), ("[à-ÿ_]", re.I), (r"[^\W\d]", 0),
    ],
)  # fmt: skip
def test_a_set_holds_the_characters_that_python_matches(pattern, flags):
    charset = parse(pattern, flags)
    assert isinstance(charset, Charset)
    runs = re.finditer(f"(?:{pattern})+", EVERY, flags)
    want = np.zeros(0x110000, dtype=bool)
    for run in runs:
        want[[*map(ord, run[0])]] = True
    held = np.zeros(0x110000, dtype=bool)
    for first, last in charset.ranges:
        held[first : last + 1] = True
    assert (held == want).all()
    assert charset.ascii == frozenset(np.flatnonzero(want[:128]).tolist())
    assert charset.beyond or not want[128:].any()
    points = np.array([*beyond_ascii()][::7])
    assert (charset.wide.hold(points) == want[points]).all()


def test_all_characters_that_equal_an_ascii_one_if_case_does_not_count():
    ascii_ = re.compile("[\x00-\x7f]", re.IGNORECASE)
    assert {ord(c) for c in EVERY if not c.isascii() and ascii_.match(c)} == FOLD_TO_ASCII


@pytest.mark.parametrize("code", range(128))
def test_each_ascii_character_with_and_without_case(code):
    pattern = re.escape(chr(code))
    plain, folded = parse(pattern), parse(pattern, re.I)
    assert plain.literal == chr(code)
    assert not plain.beyond
    assert folded.letter == (chr(code).lower() if chr(code).isalpha() else None)
    twins = {c for c in map(chr, FOLD_TO_ASCII) if re.match(pattern, c, re.I)}
    assert folded.has_wide_twin == folded.beyond == bool(twins)


def test_a_lone_surrogate_is_in_no_text():
    assert parse("\ud800").ranges == ()
    assert parse("[\ud7ff-\ue000]").ranges == ((0xD7FF, 0xD7FF), (0xE000, 0xE000))


def test_the_tree():
    tree = parse(r"(?i:a)b{2,}(?:c|\d$)(?=e)(?>f)", re.M)
    assert isinstance(tree, Joined)
    a, b, choice, look, atom = tree.parts
    assert (a.any_case, b.part.any_case, b.least, b.most) == (True, False, 2, None)
    assert isinstance(choice, Choice)
    assert [type(p) for p in tree.parts] == [Charset, Repeat, Choice, Opaque, Opaque]
    assert isinstance(choice.parts[1].parts[1], At)
    assert (look.part, atom.part.literal) == (None, "f")


@pytest.mark.parametrize(
    ("pattern", "flags", "want"),
    [
        ("please", 0, [["please"]]),
        (r"\w+\.ly", 0, [[".ly"]]),
        ("check.*out", re.I, [["check"], ["out"]]),
        ("(?:cat|dog)s?", 0, [["cat", "dog"]]),
        ("foo(?:bar|b.z)+x", 0, [["ar", "z"], ["b"], ["foo"], ["x"]]),
        (r"word\s+\d+", 0, [["word"]]),
        ("(ab){2}", 0, [["abab"]]),
        ("(?:ab)+", 0, [["ab"]]),
        ("a*b?", 0, []),
        (r"\w+", 0, []),
        ("a|", 0, []),
        (r"(?=abc)\w+", 0, []),
        ("(?>abc)d", 0, [["abc"], ["d"]]),
        ("[ab]c", 0, [["ac", "bc"]]),
        ("é\\bx", 0, [["éx"]]),
    ],
)
def test_required_literals(pattern, flags, want):
    found = [sorted(n.text.decode() for n in clause) for clause in required(parse(pattern, flags))]
    assert sorted(found) == want


@given(
    st.from_regex(r"(?:[abkiS.](?:\*|\+|\?|\{2\})?|\(a\|bk\)|\[ab\]|\\w){1,6}", fullmatch=True),
    st.data(),
)
def test_a_match_holds_a_literal_of_each_clause(pattern, data):
    for flags in (0, re.I):
        text = data.draw(st.from_regex(re.compile(pattern, flags), fullmatch=True))
        if flags and any(ord(c) in FOLD_TO_ASCII for c in text):
            continue
        for clause in required(parse(pattern, flags)):
            raw = text.encode(errors="surrogatepass")
            assert any(n.text in (raw.lower() if n.any_case else raw) for n in clause)


@pytest.mark.parametrize(
    ("pattern", "anchors"),
    [
        (r"\w+\.ly", [[".ly"]]),
        (r"https?://", [["http://"], ["https://"]]),
        ("check.*out", [["check", "out"]]),
        ("a(?:bb|c)d", [["abbd"], ["acd"]]),
        (r"\s*plz!*", [["plz"]]),
        ("(?:ab)+c", [["abc"]]),
        ("c(?:ab){2,}", [["cabab"]]),
        ("x{2}y", [["xxy"]]),
    ],
)
def test_chains(pattern, anchors):
    found = chains(parse(pattern))
    assert [[w.anchor.text.decode() for w in chain.windows] for chain in found] == anchors


@pytest.mark.parametrize(
    "pattern",
    [
        "a*",
        r"a\s+b",
        r"(a)\1",
        "(?=a)b",
        "xa{1,200}b",
        "x(?:ab)*y",
        "(?:a|b)*",
        "(?>a)b",
        "^",
        ".*",
        r"\b",
    ],
)
def test_what_is_no_chain(pattern):
    assert chains(parse(f"{pattern}")) is None


@pytest.mark.parametrize(
    ("pattern", "flags", "differs"),
    [  # what RE2 takes it for, were it handed over as written, and Python another way
        (r"\w", 0, "é"),
        (r"\W", 0, "é"),
        (r"\s", 0, "\x1c"),
        (r"\s", re.A, "\x0b"),
        (r"\d", 0, "٣"),
        ("a$", 0, "a\n"),
        ("[k]", re.I, "\u212a"),
        ("i", re.I, "\u0130"),
        ("s", re.I | re.A, "\u017f"),
        (r"^\S+$", 0, "a\u3000"),
        (r"\bé", 0, "é"),
        ("[^a]", re.I, "A"),
        (r"a\Z", 0, "a\n"),
    ],
)
def test_the_dialects_differ_and_the_translation_does_not(pattern, flags, differs):
    translation = translate(parse(pattern, flags))
    rows = [differs, "", "a", "k", "é", "\n", "a\nb", "İ", "ı", "ß", "ſ", "\x00", "😀"]
    for text in rows:
        if text.isascii() or not translation.ascii_only:
            found = pc.match_substring_regex(pa.array([text]), translation.pattern)[0].as_py()
            assert found == bool(re.search(pattern, text, flags)), (text, translation)


@pytest.mark.parametrize(
    "pattern",
    [r"(a)\1", "(?=a)", "(?!a)", "(?<=a)b", "(?>a)", "a*+", r"\B", "(?:a$)b", "a$b|c",
    "(?:a{500}){3}",
     "a{1001}", "(a)?(?(1)b|c)"],
)  # fmt: skip
def test_what_re2_is_not_asked(pattern):
    assert translate(parse(pattern)) is None


@pytest.mark.parametrize(
    ("pattern", "part"),
    [
        ("(a+)+$", "(a+)+"),
        ("x(a*)*b", "(a*)*"),
        (r"^(\w+\s?)*$", r"(\w+\s?)*"),
        ("(?:ab|a|b)+c", "(?:ab|a|b)+"),
        ("(?:.+,)*x", "(?:.+,)*"),
        ("(x+x+)+y", "(x+x+)+"),
        ("((a|b)+c?)+d", "((a|b)+c?)+"),
        (r"(?:\d+|[a-f]+|\d)*z", r"(?:\d+|[a-f]+|\d)*"),
        (r"[)(](a+)+[(]", "(a+)+"),
        (r"\((a+)+\)", "(a+)+"),
        ("(a+){20}b", "(a+){20}"),
        ("(?:(?:a+)+b)?c", "(?:a+)+"),
    ],
)
def test_an_ambiguous_loop_is_named(pattern, part):
    assert backtracks(pattern) == part


@pytest.mark.parametrize(
    "pattern",
    ["(a+)+", r"(\w+\s)*$", "(?:a|b)*c", "(?:[^,]*,)*x", r"\w+\.ly", "a*b*c*", "(?:ab)+$",
    "x" * 200,
     r"([\w.-]+)@([a-z0-9-]+\.)+[a-z]{2,}", "(a|a)*b", r"(?:https?://\S+\s)*$", "(a{2})*b",
     "(?:a+b)*c"],
)  # fmt: skip
def test_other_loops_are_not(pattern):
    assert backtracks(pattern) is None


def test_a_whole_text_that_has_to_match_can_fail():
    assert backtracks("(a+)+") is None
    assert backtracks("(a+)+", whole=True) == "(a+)+"
