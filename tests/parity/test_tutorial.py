"""A script as Snorkel's data slicing tutorial has it runs with its import lines changed only.

It reads the five CSV files of the YouTube Spam Collection and joins them with `pd.concat`, as the
tutorial does; where they aren't beside the project, files of made-up comments in their form.
"""

from __future__ import annotations

import re
import warnings
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from engine.label.plan import compile_slices
from engine.project.demo_data import YOUTUBE_FILES, generate_comments

FOLDER = Path(__file__).parents[3] / "shared" / "data" / "youtube-spam"
SCRIPT = '''
import glob
import os
import re

import numpy as np
import pandas as pd
import torch
import torch.nn as nn
from sklearn.feature_extraction.text import CountVectorizer
from sklearn.linear_model import LogisticRegression
from textblob import TextBlob

from snorkel.analysis import Scorer
from snorkel.classification import DictDataLoader, DictDataset, Trainer
from snorkel.preprocess import preprocessor
from snorkel.slicing import PandasSFApplier, SFApplier, SliceAwareClassifier
from snorkel.slicing import SlicingFunction, slice_dataframe, slicing_function
from snorkel.utils import preds_to_probs, probs_to_preds


# 0. Load data

def load_spam_dataset():
    filenames = sorted(glob.glob(os.path.join(DATA, "Youtube*.csv")))
    dfs = []
    for i, filename in enumerate(filenames, start=1):
        df = pd.read_csv(filename)
        df.columns = map(str.lower, df.columns)
        df["video"] = i
        df = df.rename(columns={"class": "label", "content": "text"})
        df = df.sample(frac=SHARE, random_state=123)
        dfs.append(df)

    df_train = pd.concat(dfs[:4]).drop("comment_id", axis=1)
    df_test = dfs[4].drop("comment_id", axis=1)
    return df_train, df_test


df_train, df_test = load_spam_dataset()

# 1. Write slicing functions

@slicing_function()
def short_comment(x):
    """Ham comments are often short, such as 'cool video!'"""
    return len(x.text.split()) < 5


short_comment_df = slice_dataframe(df_test, short_comment)
short_comment_head = short_comment_df[["text", "label"]].head()

# 2. Monitor slice performance

def df_to_features(vectorizer, df, split):
    words = [row.text for i, row in df.iterrows()]
    feats = vectorizer.fit_transform(words) if split == "train" else vectorizer.transform(words)
    return feats.todense(), df["label"].values

vectorizer = CountVectorizer(ngram_range=(1, 1), max_features=40)
X_train, Y_train = df_to_features(vectorizer, df_train, "train")
X_test, Y_test = df_to_features(vectorizer, df_test, "test")

sklearn_model = LogisticRegression(C=0.001, solver="liblinear")
sklearn_model.fit(X=np.asarray(X_train), y=Y_train)
preds_test = sklearn_model.predict(np.asarray(X_test))
probs_test = preds_to_probs(preds_test, 2)

applier = PandasSFApplier([short_comment])
S_first = applier.apply(df_test)
scorer = Scorer(metrics=["f1"])
first_scores = scorer.score_slices(
    S=S_first, golds=Y_test, preds=preds_test, probs=probs_test, as_dataframe=True
)


def keyword_lookup(x, keywords):
    return any(word in x.text.lower() for word in keywords)


def make_keyword_sf(keywords):
    return SlicingFunction(
        name=f"keyword_{keywords[0]}",
        f=keyword_lookup,
        resources=dict(keywords=keywords),
    )


keyword_please = make_keyword_sf(keywords=["please", "plz"])


@slicing_function()
def regex_check_out(x):
    return bool(re.search(r"check.*out", x.text, flags=re.I))


@slicing_function()
def short_link(x):
    """Returns whether text matches common pattern for shortened ".ly" links."""
    return bool(re.search(r"\\w+\\.ly", x.text))


@preprocessor(memoize=True)
def textblob_sentiment(x):
    scores = TextBlob(x.text)
    x.polarity = scores.sentiment.polarity
    return x


@slicing_function(pre=[textblob_sentiment])
def textblob_polarity(x):
    return x.polarity > 0.6


polarity_df = slice_dataframe(df_test, textblob_polarity)

extra_sfs = [keyword_please, regex_check_out, short_link, textblob_polarity]
sfs = [short_comment] + extra_sfs
slice_names = [sf.name for sf in sfs]

applier = PandasSFApplier(sfs)
S_test = applier.apply(df_test)
all_scores = scorer.score_slices(
    S=S_test, golds=Y_test, preds=preds_test, probs=probs_test, as_dataframe=True
)

# 3. Improve slice performance

def get_pytorch_mlp(hidden_dim, num_layers):
    layers = []
    for _ in range(num_layers):
        layers.extend([nn.Linear(hidden_dim, hidden_dim), nn.ReLU()])
    return nn.Sequential(*layers)


def create_dict_dataloader(X, Y, split, **kwargs):
    """Create a DictDataLoader for bag-of-words features."""
    ds = DictDataset.from_tensors(torch.FloatTensor(X), torch.LongTensor(Y), split)
    return DictDataLoader(ds, **kwargs)


bow_dim = X_train.shape[1]
hidden_dim = bow_dim
mlp = get_pytorch_mlp(hidden_dim=hidden_dim, num_layers=2)

slice_model = SliceAwareClassifier(
    base_architecture=mlp,
    head_dim=hidden_dim,
    slice_names=[sf.name for sf in sfs],
    scorer=scorer,
)

S_train = applier.apply(df_train)
BATCH_SIZE = 64
train_dl = create_dict_dataloader(X_train, Y_train, "train")
train_dl_slice = slice_model.make_slice_dataloader(
    train_dl.dataset, S_train, shuffle=True, batch_size=BATCH_SIZE
)
test_dl = create_dict_dataloader(X_test, Y_test, "train")
test_dl_slice = slice_model.make_slice_dataloader(
    test_dl.dataset, S_test, shuffle=False, batch_size=BATCH_SIZE
)

trainer = Trainer(n_epochs=2, lr=1e-4, progress_bar=False)
trainer.fit(slice_model, [train_dl_slice])
model_scores = slice_model.score_slices([test_dl_slice], as_dataframe=True)
plain_scores = slice_model.score([test_dl_slice], as_dataframe=True)
predictions = slice_model.predict(test_dl_slice, return_preds=True)
'''


@pytest.fixture(scope="module")
def both(tmp_path_factory):
    """Run the script with snorkel's names and with ours; return what each left."""
    pytest.importorskip("snorkel", reason="the script is run with Snorkel too")
    ours = re.sub(r"from snorkel[\w.]* import", "from engine import", SCRIPT)
    assert "snorkel" not in ours
    folder = FOLDER if FOLDER.is_dir() else made_up(tmp_path_factory.mktemp("youtube"))
    left = []
    for name, script in {"ours": ours, "snorkels": SCRIPT}.items():
        file = tmp_path_factory.mktemp("tutorial") / f"{name}.py"  # lifting reads the source
        file.write_text(script, encoding="utf-8")
        left.append({"DATA": str(folder), "SHARE": 0.3, "__name__": "script"})
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            exec(compile(script, str(file), "exec"), left[-1])
    return left


def made_up(folder):
    """Write made-up comments as the collection's files."""
    comments = generate_comments(1000, seed=3).dropna(subset=["text"])
    for i, name in enumerate(YOUTUBE_FILES, start=1):
        own = comments[comments["video"] == i]
        columns = {"COMMENT_ID": own.comment_id, "AUTHOR": own.author, "DATE": own.date,
                   "CONTENT": own.text, "CLASS": own.label.astype(int)}  # fmt: skip
        pd.DataFrame(columns).to_csv(folder / name, index=False)
    return folder


def test_columns_of_joined_files_are_in_chunks_where_pandas_keeps_text_in_arrow(both):
    text = both[0]["df_train"]["text"]
    if isinstance(text.dtype, pd.StringDtype) and text.dtype.storage == "pyarrow":
        assert text.array.__arrow_array__().num_chunks == 4
    assert not both[0]["df_train"].index.is_unique


def test_the_scripts_functions_are_lifted(both):
    plan = compile_slices(both[0]["sfs"], both[0]["df_train"])
    assert set(plan.lifted) >= {"short_comment", "keyword_please", "regex_check_out", "short_link"}


@pytest.mark.parametrize("name", ["short_comment_df", "short_comment_head", "polarity_df"])
def test_slices_shown_are_the_same_rows(both, name):
    ours, theirs = (left[name] for left in both)
    assert len(theirs) > 0
    pd.testing.assert_frame_equal(ours, theirs)


@pytest.mark.parametrize("name", ["S_first", "S_test", "S_train"])
def test_masks_are_the_same(both, name):
    ours, theirs = (left[name] for left in both)
    assert (type(ours), ours.dtype, ours.shape) == (type(theirs), theirs.dtype, theirs.shape)
    assert ours.tolist() == theirs.tolist()


@pytest.mark.parametrize("name", ["first_scores", "all_scores"])
def test_scores_of_slices_are_the_same(both, name):
    ours, theirs = (left[name] for left in both)
    assert theirs["f1"].notna().all()
    pd.testing.assert_frame_equal(ours, theirs)


@pytest.mark.parametrize("name", ["model_scores", "plain_scores"])
def test_the_models_scores_have_the_same_labels_and_columns(both, name):
    ours, theirs = (left[name] for left in both)
    columns = ["label", "dataset", "split", "metric", "score"]
    assert ours.columns.tolist() == theirs.columns.tolist() == columns
    keys = ["label", "split", "metric"]  # an unnamed data set is called after its library
    assert sorted(map(tuple, ours[keys].to_numpy())) == sorted(map(tuple, theirs[keys].to_numpy()))
    assert ours["score"].between(0, 1).all()


def test_the_models_score_rows_for_the_task_and_each_slices_predictor(both):
    labels = set(both[0]["model_scores"]["label"])
    names = ["base", *both[0]["slice_names"]]
    assert labels == {"task", *(f"task_slice:{name}_pred" for name in names)}


def test_predictions_have_the_same_parts_and_shapes(both):
    ours, theirs = (left["predictions"] for left in both)
    for part in ("golds", "probs", "preds"):
        assert {k: np.shape(v) for k, v in ours[part].items()} == {
            k: np.shape(v) for k, v in theirs[part].items()
        }
        if part == "golds":
            for label, golds in theirs[part].items():
                assert np.array_equal(ours[part][label], golds), label
    assert np.allclose(ours["probs"]["task"].sum(axis=1), 1)
