from __future__ import annotations

import json

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest
import torch
from scipy.sparse import csr_matrix
from sklearn.feature_extraction.text import CountVectorizer, TfidfVectorizer

from engine.classifier.data.dataset import DictDataLoader, DictDataset, SparseRows
from engine.classifier.features.kinds import FEATURES, fit_features
from engine.classifier.features.text import BagOfWords, TfIdf
from engine.classifier.preconditions import check_features
from engine.classifier.resume import fingerprint
from engine.classifier.settings import TabularSpec, TfIdfSpec, feature_spec

TEXTS = ["Check THIS out", "out, out now: http://bit.ly/x", "a I é漢字 😀", ""]


def message(error, f, *args, **kwargs):
    with pytest.raises(error) as caught:
        f(*args, **kwargs)
    return str(caught.value)


@pytest.mark.parametrize(
    "settings", [{}, {"ngram_range": (1, 2)}, {"lowercase": False, "token_pattern": r"\S+"}]
)
def test_counts_are_those_of_scikit_learn(settings):
    bag, peer = BagOfWords.fit(TEXTS, **settings), CountVectorizer(**settings)
    wanted = peer.fit_transform(TEXTS).toarray()
    assert list(bag.vocabulary) == list(peer.get_feature_names_out())
    counts = bag.transform(TEXTS)
    assert counts.dtype == torch.float32
    assert np.array_equal(counts.numpy(), wanted)
    assert bag.width == wanted.shape[1]


@pytest.mark.parametrize("null", [None, float("nan"), pd.NA, pd.NaT])
def test_a_null_text_is_an_empty_one(null):
    bag = BagOfWords.fit(["one two", null])
    assert bag.transform([null, "two"]).tolist() == [[0, 0], [0, 1]]


def test_it_survives_json():
    bag = BagOfWords.fit(TEXTS, ngram_range=(1, 2), lowercase=False)
    again = BagOfWords.from_json(json.loads(json.dumps(bag.to_json())))
    assert again == bag
    assert torch.equal(again.transform(TEXTS), bag.transform(TEXTS))


def test_no_texts_have_no_features():
    assert BagOfWords.fit(["one two"]).transform([]).shape == (0, 2)


def test_texts_that_can_not_be():
    assert message(ValueError, BagOfWords.fit, ["a", 12]) == (
        "row 1 holds 12 of type int where a text is due: cast the column to text"
    )
    assert message(ValueError, BagOfWords.fit, ["a", [None]]) == (
        "row 1 holds [None] of type list where a text is due: cast the column to text"
    )
    assert message(ValueError, BagOfWords.fit, ["a", None, ""]) == (
        "no token in 3 texts matches '(?u)\\\\b\\\\w\\\\w+\\\\b', so there is no vocabulary: "
        "check the text column, or set another token_pattern"
    )


def test_a_range_that_can_not_be():
    assert message(ValueError, BagOfWords.fit, ["one two"], ngram_range=(2, 1)) == (
        "features: ngram_range is (2, 1), and must be the shortest and longest run: [1, 2], say"
    )


@pytest.mark.parametrize("settings", [{}, {"ngram_range": (1, 2)}, {"sublinear_tf": True}])
def test_tf_idf_is_that_of_scikit_learn(settings):
    texts = [*TEXTS, "out out out of this check"]
    ours, peer = TfIdf.fit(texts, **settings), TfidfVectorizer(**settings)
    wanted = peer.fit_transform(texts).toarray()
    assert list(ours.vocabulary) == list(peer.get_feature_names_out())
    assert np.allclose(ours.transform(texts).numpy(), wanted, atol=1e-6)
    assert ours.transform([None, ""]).count_nonzero() == 0


@pytest.mark.parametrize(
    "texts",
    [
        ["ΣΑΣ ΣΑΣ", "İstanbul ΟΔΟΣ", "a_b __ x-y's"],
        ["zero\0byte in", "two words"],
        ["", "", "out"],
        ["line\nbreak out", "\u2028out\x1cnow", "Straße STRASSE e\u0301te\u0301"],
    ],
)
def test_odd_texts_are_counted_as_scikit_learn_does(texts):
    peer = CountVectorizer().fit(texts)
    for some in (texts, texts[::-1], texts[:1], []):
        wanted = peer.transform(some).toarray() if some else np.empty((0, len(peer.vocabulary_)))
        assert np.array_equal(BagOfWords.fit(texts).transform(some).numpy(), wanted)


def test_sparse_rows_are_the_dense_ones():
    for fitted in (BagOfWords.fit(TEXTS), TfIdf.fit(TEXTS)):
        assert torch.equal(fitted.sparse(TEXTS).to_dense(), fitted.transform(TEXTS))


def test_a_data_set_keeps_texts_sparse_and_its_batches_are_the_dense_ones():
    """To the last bit, so that keeping them sparse changes no weight."""
    rows = torch.tensor([3, 0, -1, 2, 0])
    for fitted in (BagOfWords.fit(TEXTS), TfIdf.fit(TEXTS)):
        field, dense = fitted.field(TEXTS), fitted.transform(TEXTS)
        assert len(field) == len(TEXTS)
        assert torch.equal(field.take(rows), dense[rows])
        assert torch.equal(field[1], dense[1])
        assert field.take(torch.arange(0)).shape == (0, fitted.width)
        data = DictDataset("d", "train", {"x": field}, {"task": torch.zeros(4)})
        other = DictDataset("d", "train", {"x": fitted.field(TEXTS[::-1])}, data.Y_dict)
        (X, _), *_ = DictDataLoader(data, batch_size=4)
        assert torch.equal(X["x"], dense)
        assert fingerprint(data) != fingerprint(other)
    table = fit_features({"kind": "tabular", "numeric": ["age"]}, pa.table({"age": [1, 2]}))
    assert torch.equal(table.field(pa.table({"age": [1]})), table.transform(pa.table({"age": [1]})))


def test_nan_in_sparse_rows_is_found():
    counts = csr_matrix(np.array([[0, 1], [np.nan, 2], [0, 0], [3, np.nan]], np.float32))
    fields = {"x": SparseRows.from_scipy(counts)}
    data = DictDataset("d", "train", fields, {"task": torch.zeros(4)}, keys=list("abcd"))
    assert message(ValueError, check_features, data) == (
        "field 'x' of data set 'd' is NaN or infinite in 2 rows: b (nan in column 0), d (nan in "
        "column 1); fill them, or leave these rows out"
    )


def test_the_most_frequent_words_only():
    assert BagOfWords.fit(["out out now", "out here now"], max_words=2).vocabulary == ("now", "out")


def test_texts_are_found_in_tables_by_their_column():
    arrow = pa.table({"body": ["one two", None], "id": [1, 2]})
    bag = fit_features({"kind": "bag_of_words"}, arrow, text="body")
    assert bag.columns == ("body",)
    for rows in (arrow, arrow.to_batches()[0], arrow.to_pandas()):
        assert bag.transform(rows).tolist() == [[1, 1], [0, 0]]


PEOPLE = pa.table(
    {
        "id": [1, 2, 3, 4],
        "age": pa.array([20.0, 40.0, None, 60.0]),
        "member": [True, False, True, None],
        "city": ["Oslo", None, "Oslo", "Rome"],
        "zip": [150, 150, 151, None],
    }
)
TABULAR = {"kind": "tabular", "numeric": ["age", "member"], "category": ["city", "zip"]}


def test_numbers_are_standardised_and_null_has_its_own_feature():
    matrix = fit_features(TABULAR, PEOPLE).transform(PEOPLE)[:, :4]
    ages = np.array([20.0, 40.0, 60.0])
    wanted = (ages - 40) / ages.std()
    assert np.allclose(matrix[[0, 1, 3], 0], wanted)
    assert matrix[:, 1].tolist() == [0, 0, 1, 0]
    assert matrix[2, 0] == 0
    assert matrix[:, 3].tolist() == [0, 0, 0, 1]


def test_categories_have_a_feature_per_level_one_for_others_and_one_for_null():
    features = fit_features({"kind": "tabular", "category": ["city", "zip"]}, PEOPLE)
    assert [c.levels for c in features.categories] == [("Oslo", "Rome"), ("150", "151")]
    rows = pa.table({"city": ["Rome", "Paris", None], "zip": [151, None, 7]})
    assert features.transform(rows).tolist() == [
        [0, 1, 0, 0, 0, 1, 0, 0],
        [0, 0, 1, 0, 0, 0, 0, 1],
        [0, 0, 0, 1, 0, 0, 1, 0],
    ]
    few = fit_features({"kind": "tabular", "category": ["city"], "max_levels": 1}, PEOPLE)
    assert few.categories[0].levels == ("Oslo",)


def test_pandas_and_arrow_rows_are_the_same():
    features = fit_features(TABULAR, PEOPLE)
    frame = PEOPLE.to_pandas(types_mapper=pd.ArrowDtype)
    assert torch.equal(features.transform(frame), features.transform(PEOPLE))


def test_a_column_of_nulls_or_of_one_value_is_no_problem():
    rows = pa.table({"a": pa.array([None, None], pa.float64()), "b": [3, 3]})
    matrix = fit_features({"kind": "tabular", "numeric": ["a", "b"]}, rows).transform(rows)
    assert matrix.tolist() == [[0, 1, 0, 0], [0, 1, 0, 0]]


def test_features_of_every_kind_survive_json():
    texts = pa.table({"text": TEXTS})
    cases = [
        ({"kind": "bag_of_words"}, texts),
        ({"kind": "tfidf", "sublinear_tf": True}, texts),
        (TABULAR, PEOPLE),
    ]
    for spec, rows in cases:
        fitted = fit_features(spec, rows, text="text", key=["id"])
        again = FEATURES[spec["kind"]].from_json(json.loads(json.dumps(fitted.to_json())))
        assert again == fitted
        assert torch.equal(again.transform(rows), fitted.transform(rows))


def test_an_older_checkpoint_s_bag_reads_the_column_text():
    old = BagOfWords.fit(TEXTS, column="body").to_json()
    del old["column"]
    assert BagOfWords.from_json(old).columns == ("text",)


def test_nan_is_no_null():
    nan = {"id": [7, 8, 9], "age": pa.array([1.0, float("nan"), float("inf")])}
    spec = {"kind": "tabular", "numeric": ["age"]}
    assert message(ValueError, fit_features, spec, pa.table(nan), key=["id"]) == (
        "numeric feature 'age' is NaN or infinite on 2 rows, the first are id=8; id=9; correct "
        "them, or make them null, which is a value of its own"
    )
    fitted = fit_features(spec, pa.table({"age": [1.0, 2.0]}))
    frame = pd.DataFrame({"age": [1.0, float("nan")]}, index=["x", "y"])
    assert message(ValueError, fitted.transform, frame) == (
        "numeric feature 'age' is NaN or infinite on 1 rows, the first are row y; correct "
        "them, or make them null, which is a value of its own"
    )


@pytest.mark.parametrize(
    ("spec", "wanted"),
    [
        ({"kind": "tfdif"}, "features: there is no kind 'tfdif'; did you mean 'tfidf'?"),
        ({}, "features: there is no kind None; known: bag_of_words, tabular, tfidf"),
        (
            {"kind": "tfidf", "max_word": 3},
            "features: tfidf has no setting 'max_word'; did you mean 'max_words'?",
        ),
        (
            {"kind": "tabular"},
            "features: tabular reads no column: name some in numeric or category",
        ),
        ({"kind": "tfidf"}, "features: tfidf reads a text: set text, or column here"),
        (
            {"kind": "tabular", "numeric": ["city"]},
            "numeric feature 'city' is of type string, and must be a number or boolean: cast it "
            "in the source, or leave it out",
        ),
        (
            {"kind": "tabular", "category": ["age"]},
            "category feature 'age' is of type double, and must be a text, whole number, boolean "
            "or date: cast it in the source, or leave it out",
        ),
        (
            {"kind": "tabular", "numeric": ["agee"]},
            "features: there is no column 'agee'; did you mean 'age'?",
        ),
    ],
)
def test_features_that_can_not_be(spec, wanted):
    assert message(ValueError, fit_features, spec, PEOPLE) == wanted


def as_given():
    """Yield PEOPLE in the forms that users have tables in."""
    yield pa.concat_tables([PEOPLE.slice(0, 1), PEOPLE.slice(1, 0), PEOPLE.slice(1)])
    yield pa.concat_tables([PEOPLE, PEOPLE]).combine_chunks().slice(3, 5).slice(1)
    yield PEOPLE.to_batches()[0]
    texts = (pa.large_string(), pa.string_view(), pa.dictionary(pa.int8(), pa.string()))
    for kind in texts:
        at = PEOPLE.schema.get_field_index("city")
        city = PEOPLE["city"].combine_chunks()
        city = city.dictionary_encode() if pa.types.is_dictionary(kind) else city.cast(kind)
        yield PEOPLE.set_column(at, "city", city).set_column(
            4, "zip", PEOPLE["zip"].dictionary_encode()
        )
    frame = PEOPLE.to_pandas(types_mapper=pd.ArrowDtype)
    yield pd.concat([frame.iloc[:1], frame.iloc[1:]]).set_axis([7, 7, 7, 7])
    yield frame.astype({"city": "category", "zip": "Int64", "member": "boolean"})
    halves = [frame.iloc[:2], frame.iloc[2:]]
    yield pd.concat([h.astype({"city": "string[pyarrow]", "zip": "category"}) for h in halves])
    yield frame.astype({"city": object, "zip": object, "member": object, "age": "Float64"})


def test_rows_in_any_form_have_the_same_features():
    features = fit_features(TABULAR, PEOPLE)
    wanted = features.transform(PEOPLE).tolist()
    bag = fit_features({"kind": "bag_of_words"}, PEOPLE, text="city")
    for rows in as_given():
        assert features.transform(rows).tolist() == wanted
        assert fit_features(TABULAR, rows) == features
        assert fit_features({"kind": "bag_of_words"}, rows, text="city") == bag


def test_typed_settings_fit_as_those_of_json_do():
    spec = feature_spec({"kind": "tabular", "numeric": ["age"]}, key=["id"])
    assert spec == TabularSpec(numeric=("age",), key=("id",))
    assert fit_features(spec, PEOPLE) == fit_features(
        {"kind": "tabular", "numeric": ["age"]}, PEOPLE, key=["id"]
    )
    assert feature_spec({"kind": "tfidf"}, text="body") == TfIdfSpec(column="body")
