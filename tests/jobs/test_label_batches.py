"""label_slices over preprocessors of batches and parsed texts."""

from __future__ import annotations

import pytest

ROWS = [(1, "one song. Two"), (2, "great"), (3, None), (4, ""), (5, "great"), (6, "no 3")]
SCHEMA = "id int, text string"

BATCHES = """
@preprocessor(batch=True, memoize=True)
def with_words(xs):
    xs.words = [text.split() for text in xs.text]
    return xs

@preprocessor(pre=[with_words], batch=True)
def with_inverse(xs):
    xs.inverse = [1 / len(words) for words in xs.words]
    return xs

@slicing_function(pre=[with_words])
def many(x):
    return len(x.words) > 1

@slicing_function(pre=[with_inverse])
def few(x):
    return x.inverse > 0.4
"""
PARSED = """
import spacy
from engine import nlp_slicing_function

nlp = spacy.blank("en")
nlp.add_pipe("sentencizer")

@nlp_slicing_function(language=nlp)
def sentences(x):
    return len(list(x.doc.sents)) > {least}

@nlp_slicing_function(language="blank:en")
def number(x):
    return any(token.like_num for token in x.doc)
"""


def test_batches(bench, caplog):
    bench.rows(ROWS, SCHEMA)
    module = bench.module(BATCHES)
    settings = {"sf_modules": [module], "on_error": "null", "max_error_rate": 0.5, "verify": 1.0}
    out = bench.done("label_slices", bench.project(**settings), "--explain")
    assert "after with_words, with_inverse" in out
    bench.done("label_slices", bench.project(**settings))
    assert "slice 'few' failed on 1 of 6 rows" in caplog.text
    assert "'few' on row id=4 having text='': ZeroDivisionError: division by zero" in caplog.text
    masks = bench.masks()
    assert [masks[i]["many"] for i in range(1, 7)] == [True, False, None, False, False, True]
    assert [masks[i]["few"] for i in range(1, 7)] == [False, True, None, None, True, True]


def test_parsed_texts(bench):
    pytest.importorskip("spacy", reason="spaCy is not installed: pip install '.[nlp]'")
    bench.rows(ROWS, SCHEMA)
    module = bench.module(PARSED.format(least=1))
    project = bench.project(sf_modules=[module], verify=1.0)
    bench.done("label_slices", project)
    masks = bench.masks()
    assert [masks[i]["sentences"] for i in range(1, 7)] == [True, False, None, False, False, False]
    assert [masks[i]["number"] for i in range(1, 7)] == [True, False, None, False, False, True]
    before = bench.versions()
    bench.done("label_slices", project)
    assert bench.versions() == before  # a pipeline is the same in the next run
    other = bench.project(sf_modules=[bench.module(PARSED.format(least=0))], verify=1.0)
    bench.done("label_slices", other)
    assert bench.masks()[2]["sentences"] is True
