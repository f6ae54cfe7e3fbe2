"""Slicing functions over parsed texts: `nlp.pipe` in batches, once per text, loaded once.

Pipelines are blank ones and one that is trained here, in a moment: packages of trained ones may
not be there.
"""

from __future__ import annotations

import copy
import pickle
import subprocess
import sys
import textwrap
from pathlib import Path
from types import SimpleNamespace

import pandas as pd
import pyarrow as pa
import pytest

from engine import (
    NLPSlicingFunction,
    PandasSFApplier,
    SlicingFunction,
    SpacyPreprocessor,
    SparkSFApplier,
    compile_slices,
    nlp_slicing_function,
    preprocessor,
    slice_dataframe,
)
from engine.errors import ArgumentError, SliceError
from engine.run.kernel import Kernel
from engine.run.ship import Parcel, unsendable
from engine.slicing import pipelines
from engine.slicing.discovery import load_slices
from engine.slicing.fingerprint.identity import fingerprint, unknowns
from engine.slicing.rows import own_copy

spacy = pytest.importorskip("spacy", reason="spaCy is not installed: pip install '.[nlp]'")

ROOT = Path(__file__).parents[2]
TEXTS = ["One song. Two songs", "great", None, "see seven films", "great", ""]
GOOD = ["great song", "a great film", "great", "what a great day"]
BAD = ["dull song", "a dull film", "dull", "what a dull day"]


def blank():
    nlp = spacy.blank("en")
    nlp.add_pipe("sentencizer")
    return nlp


def trained(seed=0):
    """Train a text classifier: `good` and `bad`."""
    from spacy.training import Example

    spacy.util.fix_random_seed(seed)
    nlp = blank()
    nlp.add_pipe("textcat")
    examples = [
        Example.from_dict(nlp.make_doc(text), {"cats": {"good": good, "bad": 1.0 - good}})
        for texts, good in ((GOOD, 1.0), (BAD, 0.0))
        for text in texts
    ]
    optimizer = nlp.initialize(lambda: examples)
    for _ in range(15):
        nlp.update(examples, sgd=optimizer)
    return nlp


@pytest.fixture(scope="module")
def classifier():
    return trained()


@pytest.fixture
def pipes(monkeypatch):
    """Note the texts of each call of `nlp.pipe`."""
    calls = []
    true = spacy.language.Language.pipe

    def pipe(self, texts, **more):
        calls.append(list(texts))
        return true(self, texts, **more)

    monkeypatch.setattr(spacy.language.Language, "pipe", pipe)
    return calls


def has_number(x):
    return any(token.like_num for token in x.doc)


def sentences(x):
    return len(list(x.doc.sents)) > 1


def masks(sfs, texts=TEXTS):
    out = Kernel(sfs).run({"text": pa.array(texts)})
    assert not out.faults, out.faults
    return {s: m.tolist() for s, m in out.masks.items()}


def test_texts_are_parsed_together_and_each_once(pipes):
    nlp = blank()
    sfs = [NLPSlicingFunction(f.__name__, f, language=nlp) for f in (has_number, sentences)]
    assert masks(sfs) == {"has_number": [1, 0, -1, 1, 0, 0], "sentences": [1, 0, -1, 0, 0, 0]}
    assert pipes == [["One song. Two songs", "great", "see seven films"], [""]]


def test_not_memoized_each_row_is_parsed(pipes):
    sf = NLPSlicingFunction("n", has_number, language="blank:en", memoize=False)
    assert masks([sf], ["a", "one", "a"]) == {"n": [0, 1, 0]}
    assert pipes == [["a", "one", "a"]]


def test_plain_mode_parses_one_at_a_time_and_says_the_same(monkeypatch, classifier):
    sfs = [
        NLPSlicingFunction("numbers", has_number, language=classifier),
        NLPSlicingFunction("good", lambda x: x.doc.cats["good"] > 0.5, language=classifier),
    ]
    texts = [*TEXTS, *GOOD, *BAD, None]
    fast = masks(sfs, texts)
    assert fast["good"][-9:] == [1] * 4 + [0] * 4 + [-1]
    monkeypatch.setenv("ENGINE_PLAIN", "1")
    assert masks(sfs, texts) == fast


def test_what_is_no_text_is_a_fault_of_its_row(both_ways):
    sf = NLPSlicingFunction("n", has_number, text_field="n", language="blank:en")
    out = Kernel([sf]).run({"n": pa.array([3, None])})
    assert out.masks["n"].tolist() == [-1, -1]
    (fault,) = out.faults
    assert (fault.row, fault.read) == (0, "n=3")
    assert fault.cause.startswith("TypeError: a pipeline of spaCy parses text, found 3")


def test_a_text_that_the_pipeline_refuses_is_a_fault_of_its_row():
    nlp = blank()

    @nlp.component("short_only")
    def short_only(doc):
        if len(doc) > 3:
            raise ValueError("too long")
        return doc

    nlp.add_pipe("short_only")
    sf = NLPSlicingFunction("n", has_number, language=nlp)
    out = Kernel([sf]).run({"text": pa.array(["one", "a b c d e", "three"] * 2)})
    assert out.masks["n"].tolist() == [1, -1, 1] * 2
    assert [f.row for f in out.faults] == [1, 4]
    assert out.faults[0].cause.startswith("ValueError: too long")


def test_functions_of_the_same_parameters_share_a_preprocessor():
    nlp, other = blank(), blank()
    one, same, disabled, another, renamed = (
        NLPSlicingFunction("s", has_number, **about)
        for about in (
            {"language": nlp},
            {"language": nlp},
            {"language": nlp, "disable": ["sentencizer"]},
            {"language": other},
            {"language": nlp, "doc_field": "parsed"},
        )
    )
    assert one.pre == same.pre
    assert len({sf.pre for sf in (one, disabled, another, renamed)}) == 4


def test_components_that_are_disabled_do_not_run():
    sf = NLPSlicingFunction(
        "s", lambda x: x.doc.has_annotation("SENT_START"), language=blank(),
        disable=["sentencizer"],
    )  # fmt: skip
    assert masks([sf], ["One. Two."]) == {"s": [0]}


def test_preprocessors_before_and_behind():
    @preprocessor()
    def lower(x):
        x.text = x.text.lower()
        return x

    nlp = SpacyPreprocessor("text", "parsed", "blank:en", pre=[lower], memoize=True)

    @preprocessor(pre=[nlp])
    def with_words(x):
        x.words = [token for token in x.parsed if token.is_alpha]  # tokens can't be copied
        x.ends = x.parsed[-1:]
        return x

    sfs = [
        SlicingFunction("words", lambda x: x.words[-1].text == "b", pre=[with_words]),
        SlicingFunction("ends", lambda x: x.ends.text == "b", pre=[with_words]),
        SlicingFunction("lower", lambda x: x.parsed.text == "a b", pre=[nlp]),
    ]  # fmt: skip
    assert masks(sfs, ["A b", "c", None]) == {sf.name: [1, 0, -1] for sf in sfs}


def test_a_copy_of_a_document_has_its_words_and_another_ones_annotations():
    doc = spacy.blank("en")("see Mary")
    own = own_copy(doc)
    own.ents = [spacy.tokens.Span(own, 1, 2, "PERSON")]
    assert (own.vocab is doc.vocab, own.text, len(own.ents), doc.ents) == (True, doc.text, 1, ())
    tokens = [doc[0], doc[0:1]]
    assert own_copy(tokens) == tokens


def test_a_key_of_the_users_own(pipes):
    sf = NLPSlicingFunction(
        "n", has_number, language="blank:en", memoize_key=lambda x: x.text.lower()
    )
    assert masks([sf], ["One", "ONE", "a"]) == {"n": [1, 1, 0]}
    assert pipes == [["One", "a"]]


def test_called_on_data_points():
    @nlp_slicing_function(language="blank:en")
    def number(x):
        """Comments with a number."""
        return any(token.like_num for token in x.doc)

    assert (number.name, number.description) == ("number", "Comments with a number.")
    assert repr(number) == "NLPSlicingFunction number (row)"
    df = pd.DataFrame({"text": ["one", "a"]})
    assert [number(x) for _, x in df.iterrows()] == [True, False]
    assert number(SimpleNamespace(text="two"))
    assert slice_dataframe(df, number).text.tolist() == ["one"]
    assert PandasSFApplier([number]).apply(df, progress_bar=False)["number"].tolist() == [1, 0]


def test_only_the_text_crosses():
    sf = NLPSlicingFunction("n", has_number, language="blank:en")
    plan = compile_slices([sf], pa.schema([("id", pa.int64()), ("text", pa.string())]))
    assert plan.crossing == ("text",)
    assert "reads text, after SpacyPreprocessor" in str(plan.explain())


# A pipeline's identity


def sf_of(language, **more):
    return NLPSlicingFunction("n", has_number, language=language, **more)


def test_a_pipeline_is_told_from_another_and_use_changes_nothing(classifier):
    before = fingerprint(sf_of(classifier))
    assert unknowns(sf_of(classifier)) == ()
    list(classifier.pipe(["words that it has never seen"]))
    assert fingerprint(sf_of(classifier)) == before
    assert fingerprint(sf_of(trained(seed=1))) != before
    assert fingerprint(sf_of(blank())) != before
    assert fingerprint(sf_of(classifier, disable=["textcat"])) != before
    assert fingerprint(sf_of(classifier, text_field="title")) != before
    assert fingerprint(sf_of("blank:en")) != fingerprint(sf_of("blank:de"))


def test_what_is_added_to_a_pipeline_changes_its_identity():
    nlp = blank()
    ruler = nlp.add_pipe("span_ruler")
    before = fingerprint(sf_of(nlp))
    ruler.add_patterns([{"label": "SONG", "pattern": "Yesterday"}])
    after = fingerprint(sf_of(nlp))
    nlp.tokenizer.add_special_case("gimme", [{"ORTH": "gim"}, {"ORTH": "me"}])
    assert len({before, after, fingerprint(sf_of(nlp))}) == 3


def test_a_component_of_the_users_own_is_described_by_its_source(tmp_path):
    code = """
    import sys, spacy
    from engine import NLPSlicingFunction
    from engine.slicing.fingerprint.identity import fingerprint
    from spacy.language import Language

    @Language.component("mine")
    def mine(doc):
        doc.user_data["n"] = {n}
        return doc

    nlp = spacy.blank("en")
    nlp.add_pipe("mine")
    print(fingerprint(NLPSlicingFunction("a", lambda x: x.doc.user_data["n"], language=nlp)))
    """

    def ask(n):
        script = tmp_path / "script.py"
        script.write_text(textwrap.dedent(code.format(n=n)))
        return printed(str(script))

    assert ask(1) != ask(2)


def test_a_folder_is_told_by_its_files_wherever_it_is(tmp_path, classifier):
    classifier.to_disk(tmp_path / "a")
    classifier.to_disk(tmp_path / "b")
    one, other = (sf_of(tmp_path / name) for name in "ab")
    assert fingerprint(one) == fingerprint(other)
    assert masks([one], GOOD) == masks([sf_of(classifier)], GOOD)
    (tmp_path / "b" / "meta.json").write_text("{}")
    assert fingerprint(one) != fingerprint(other)


def test_it_is_the_same_in_each_process(tmp_path, classifier):
    classifier.to_disk(tmp_path / "own")
    code = f"""
    import spacy
    from engine import NLPSlicingFunction
    from engine.slicing.fingerprint.identity import fingerprint
    from tests.slicing.test_nlp import sf_of

    for language in (r"{tmp_path / "own"}", spacy.load(r"{tmp_path / "own"}"), "blank:en"):
        print(fingerprint(sf_of(language)))
    """
    first, second = (printed("-c", textwrap.dedent(code)) for _ in range(2))
    assert first == second
    assert first.split()[1] == fingerprint(sf_of(classifier))


def printed(*arguments):
    ran = subprocess.run(
        [sys.executable, *arguments], capture_output=True, text=True, check=False, cwd=ROOT,
        env={"PYTHONPATH": str(ROOT), "PATH": ""}, timeout=120,
    )  # fmt: skip
    assert ran.returncode == 0, ran.stderr
    return ran.stdout


# On its way to executors


def test_a_pipeline_travels_and_is_loaded_once(classifier, monkeypatch):
    sfs = [
        NLPSlicingFunction("good", lambda x: x.doc.cats["good"] > 0.5, language=classifier),
        NLPSlicingFunction("numbers", has_number, language=classifier),
        NLPSlicingFunction("again", has_number, language="blank:en"),
    ]
    assert unsendable(sfs) is None
    data = pickle.dumps(Parcel(Kernel(sfs)))
    pipelines._loaded.cache_clear()
    loads = []
    monkeypatch.setattr(
        pipelines.pickle, "loads", lambda data: (loads.append(1), pickle._loads(data))[1]
    )
    for _ in range(2):  # tasks
        kernel = pickle.loads(data).unpack() if not loads else kernel  # noqa: F821
        out = kernel.run({"text": pa.array([*GOOD, *BAD])})
        assert out.masks["good"].tolist() == [1] * 4 + [0] * 4
    assert pipelines._loaded.cache_info().misses == 2
    assert fingerprint(sfs[0]) == fingerprint(copy.copy(sfs[0]))


def test_a_pipeline_that_is_not_there_is_a_fault_of_each_row(monkeypatch):
    monkeypatch.setattr(pipelines, "check_there", lambda *_: None)
    monkeypatch.setattr("engine.slicing.nlp.check_there", lambda *_: None)
    pipelines._loaded.cache_clear()
    out = Kernel([sf_of("no_such_pipeline")]).run({"text": pa.array(["a", None, "b"])})
    assert [f.row for f in out.faults] == [0, 2]
    assert out.faults[0].cause.startswith("OSError: [E050] Can't find model 'no_such_pipeline'.")
    assert pipelines._loaded.cache_info().misses == 1


MODULE = """
import spacy
from spacy.language import Language
from engine import nlp_slicing_function

WORDS = {"great"}

@Language.component("praises")
def praises(doc):
    doc.user_data["praise"] = any(token.text in WORDS for token in doc)
    return doc

nlp = spacy.blank("en")
nlp.add_pipe("sentencizer")
nlp.add_pipe("praises")

@nlp_slicing_function(language=nlp)
def praise(x):
    return x.doc.user_data["praise"]

@nlp_slicing_function(language="blank:en")
def number(x):
    return any(token.like_num for token in x.doc)
"""


@pytest.fixture
def module(tmp_path):
    path = tmp_path / "nlp_slices.py"
    path.write_text(MODULE)
    yield load_slices(str(path))
    del sys.modules["nlp_slices"]


def test_a_module_of_slices(module):
    assert [sf.name for sf in module] == ["praise", "number"]
    assert masks(module) == {"praise": [0, 1, -1, 0, 1, 0], "number": [1, 0, -1, 1, 0, 0]}
    assert [unknowns(sf) for sf in module] == [(), ()]


def test_in_spark(spark, module):
    rows = [(i, text) for i, text in enumerate(TEXTS * 3)]
    df = spark.createDataFrame(rows, "id bigint, text string").repartition(3)
    masked = SparkSFApplier(module).apply(df).orderBy("id").collect()
    expected = masks(module, TEXTS * 3)
    for name, codes in expected.items():
        assert [{None: -1}.get(row[name], row[name]) for row in masked] == codes


# What is refused


def test_a_pipeline_that_is_not_installed():
    with pytest.raises(SliceError) as error:
        SpacyPreprocessor("text", "doc", "en_no_such")
    assert str(error.value) == (
        "SpacyPreprocessor: there is no pipeline 'en_no_such' here; install it with `python -m "
        "spacy download en_no_such`, or give language a folder, blank:en or a pipeline itself"
    )


def test_what_is_no_pipeline():
    with pytest.raises(ArgumentError) as error:
        nlp_slicing_function(language=3)(has_number)
    assert str(error.value) == (
        "SpacyPreprocessor: language must be a pipeline's name, its folder or a pipeline of "
        "spaCy, found 3"
    )


CALLS = {
    "SpacyPreprocessor": lambda **more: SpacyPreprocessor(
        **{"text_field": "text", "doc_field": "doc", **more}
    ),
    "NLPSlicingFunction": lambda **more: NLPSlicingFunction("n", has_number, **more),
    "nlp_slicing_function": lambda **more: nlp_slicing_function(**more)(has_number),
}


@pytest.mark.parametrize("call", CALLS.values(), ids=CALLS)
@pytest.mark.parametrize(
    ("argument", "value", "wanted"),
    [
        ("text_field", 3, "a text, found 3"),
        ("doc_field", "", "a text, found ''"),
        ("language", None, "a pipeline's name, its folder or a pipeline of spaCy, found None"),
        ("disable", "ner", "a list of components, found 'ner'; write disable=['ner']"),
        ("gpu", "yes", "True or False, found 'yes'"),
        ("pre", ["p"], "a preprocessor, found 'p'"),
        ("memoize", 2, "True or False, found 2"),
        ("memoize_key", 2, "a function, found 2"),
    ],
)
def test_wrong_arguments(call, argument, value, wanted):
    with pytest.raises(ArgumentError) as error:
        call(**{"language": "blank:en", argument: value})
    assert str(error.value).endswith(f"must be {wanted}")


def test_parentheses_are_needed():
    with pytest.raises(SliceError) as error:
        nlp_slicing_function(has_number)
    assert str(error.value) == (
        "@nlp_slicing_function on has_number needs parentheses: write @nlp_slicing_function()"
    )
