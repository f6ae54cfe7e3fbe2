"""Every metric, through the scan's kernel, against scikit-learn or plain numpy."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial

import numpy as np
import pytest
import sklearn.metrics as sk

from engine.metrics.catalog import KINDS, parse_metric
from engine.metrics.formulas.families import addends_of, compute, family, is_share
from engine.metrics.formulas.outputs import MISSING, Classes, Outputs
from engine.metrics.formulas.ranking import bound
from engine.metrics.formulas.states import OK, SINGLE_CLASS, UNDEFINED, State
from engine.metrics.scan.kernel import Added, Masks, Work, add, state_of
from engine.words import packed

N = 600
CLOSE = 1e-9
SLICES = ("half", "few", "one_class", "one_pred", "one_row", "unlabelled", "empty")


@dataclass(frozen=True)
class Rows:
    """Rows with outputs and weights, all ``[n]`` but ``prob`` ``[n, C]``."""

    classes: int
    positive: int
    label: np.ndarray
    pred: np.ndarray
    prob: np.ndarray
    target: np.ndarray
    predicted: np.ndarray
    column: np.ndarray
    weight: np.ndarray | None

    def __getitem__(self, at: np.ndarray) -> Rows:
        names = ("label", "pred", "prob", "target", "predicted", "column")
        weight = None if self.weight is None else self.weight[at]
        return replace(self, weight=weight, **{n: getattr(self, n)[at] for n in names})

    @property
    def n(self) -> int:
        return len(self.label)

    @property
    def w(self) -> np.ndarray:
        return np.ones(self.n) if self.weight is None else self.weight

    @property
    def score(self) -> np.ndarray:
        return self.prob[:, self.positive]  # a view

    def outputs(self, narrow: bool) -> Outputs:
        """The same as the kernel takes them; narrow: the positive class's probability alone."""
        prob = self.prob[:, [self.positive]] if narrow else self.prob
        classes = Classes(tuple(range(self.classes)), self.positive)
        columns = {"mean:x": self.column, "null:x": np.where(np.isnan(self.column), np.nan, 0.0)}
        return Outputs(classes, self.label, self.pred, prob, self.target, self.predicted, columns)


def drawn(
    seed: int, classes: int, weighted: bool, positive: int = 1, aligned: bool = False
) -> tuple[Rows, np.ndarray]:
    """Draw rows, some without label, prediction, probability or number, and masks ``[n, S]``."""
    rng = np.random.default_rng(seed)
    label = rng.integers(0, classes, N)
    prob = rng.dirichlet(np.ones(classes), N)
    prob[np.arange(N), label] += 0.4
    prob /= prob.sum(axis=1, keepdims=True)
    if aligned:
        steps = 4096 if classes == 2 else 64
        first = rng.integers(0, steps + 1, N) / steps
        prob = np.stack([1 - first, first], axis=1) if classes == 2 else prob
    pred = np.where(rng.random(N) < 0.6, label, rng.integers(0, classes, N))
    pred[pred == classes - 1] = 0 if classes > 2 else pred[pred == classes - 1]
    label, pred = (np.where(rng.random(N) < 0.05, MISSING, v) for v in (label, pred))
    prob[rng.random(N) < 0.05] = np.nan
    target = rng.normal(3, 5, N)
    predicted = target + rng.normal(0.5, 2, N)
    target[rng.random(N) < 0.05] = 0.0
    target[rng.random(N) < 0.05] = np.nan
    predicted[rng.random(N) < 0.05] = np.nan
    column = np.where(rng.random(N) < 0.1, np.nan, rng.normal(1e6, 10, N))
    weight = rng.random(N) * 3 if weighted else None
    one_row = np.arange(N) == int(np.flatnonzero((label >= 0) & (pred >= 0) & ~np.isnan(target))[0])
    masks = np.stack(
        [
            rng.random(N) < 0.5, rng.random(N) < 0.03, label == 0, pred == 1, one_row, label < 0,
            np.zeros(N, bool),
        ],
        axis=1,
    )  # fmt: skip
    rows = Rows(classes, positive, label, pred, prob, target, predicted, column, weight)
    return rows, masks


def state(rows: Rows, masks: np.ndarray, text: str, narrow: bool = False) -> tuple[State, Classes]:
    """Add up what a metric is made of, in two parts."""
    outputs = rows.outputs(narrow)
    work = Work(*addends_of([parse_metric(text)], outputs.classes), rows.weight is not None)
    added = Added()
    for part in (slice(0, 250), slice(250, None)):
        some = rows[np.arange(N)[part]]
        words = np.ascontiguousarray(packed(masks[part]).T).view(np.uint64)
        add(added, work, Masks(words), replace(some.outputs(narrow), weight=some.weight))
    return state_of(added, work, masks.shape[1]), outputs.classes


Oracle = Callable[[Rows], float]


def on(kept: Callable[[Rows], np.ndarray], of: Oracle) -> tuple[Callable[..., np.ndarray], Oracle]:
    return kept, of


def _predicted(rows: Rows) -> np.ndarray:
    return (rows.label >= 0) & (rows.pred >= 0)


def _probable(rows: Rows) -> np.ndarray:
    return (rows.label >= 0) & ~np.isnan(rows.prob).any(axis=1)


def _paired(rows: Rows) -> np.ndarray:
    return ~np.isnan(rows.target) & ~np.isnan(rows.predicted)


def _divisible(rows: Rows) -> np.ndarray:
    return _paired(rows) & (rows.target != 0)


def _all(rows: Rows) -> np.ndarray:
    return np.ones(rows.n, bool)


def _filled(rows: Rows) -> np.ndarray:
    return ~np.isnan(rows.column)


def of_positive(score: Callable[..., float], **more: float) -> Oracle:
    return lambda r: score(
        r.label, r.pred, labels=[r.positive], average="micro", sample_weight=r.weight,
        zero_division=0, **more,
    )  # fmt: skip


def averaged(score: Callable[..., float], average: str) -> Oracle:
    return lambda r: score(
        r.label, r.pred, average=average, sample_weight=r.weight, zero_division=0
    )


def _share(rows: Rows, above: np.ndarray, below: np.ndarray) -> float:
    total = rows.w[below].sum()
    return float(rows.w[above & below].sum() / total) if total else 0.0


def _matthews(rows: Rows) -> float:
    if min(len(set(rows.label)), len(set(rows.pred))) < 2:
        return 0.0
    return float(sk.matthews_corrcoef(rows.label, rows.pred, sample_weight=rows.weight))


def _ranked(score: Callable[..., float]) -> Oracle:
    def of(rows: Rows) -> float:
        positive = rows.label == rows.positive
        if len(set(positive)) < 2:
            return float("nan")
        return float(score(positive, rows.score, sample_weight=rows.weight))

    return of


def _brier(rows: Rows) -> float:
    errors = ((rows.prob - np.eye(rows.classes)[rows.label]) ** 2).sum(axis=1)
    return float(np.average(errors / (2 if rows.classes == 2 else 1), weights=rows.weight))


def _ece(bins: int, rows: Rows) -> float:
    confidence, right = rows.prob.max(axis=1), rows.prob.argmax(axis=1) == rows.label
    at = np.minimum((confidence * bins).astype(int), bins - 1)
    apart = 0.0
    for k in set(at):
        w = rows.w[at == k]
        apart += abs((w * right[at == k]).sum() - (w * confidence[at == k]).sum())
    return float(apart / rows.w.sum())


def _hits(k: int, rows: Rows) -> float:
    if rows.classes > 2:
        return float(
            sk.top_k_accuracy_score(
                rows.label, rows.prob, k=k, labels=range(rows.classes), sample_weight=rows.weight
            )
        )
    order = np.argsort(rows.prob, axis=1, kind="stable")[:, ::-1][:, :k]
    return float(np.average((order == rows.label[:, None]).any(axis=1), weights=rows.weight))


def _r2(rows: Rows) -> float:
    if rows.n < 2:  # scikit-learn gives NaN
        return float(rows.target[0] == rows.predicted[0])
    return float(sk.r2_score(rows.target, rows.predicted, sample_weight=rows.weight))


def _error(score: Callable[..., float]) -> Oracle:
    return lambda r: float(score(r.target, r.predicted, sample_weight=r.weight))


BINARY_ORACLES: dict[str, Oracle] = {
    "accuracy": lambda r: sk.accuracy_score(r.label, r.pred, sample_weight=r.weight),
    "precision": of_positive(sk.precision_score),
    "recall": of_positive(sk.recall_score),
    "f1": of_positive(sk.f1_score),
    "fbeta@beta=2": of_positive(sk.fbeta_score, beta=2.0),
    "fbeta@beta=0.5": of_positive(sk.fbeta_score, beta=0.5),
    "fbeta@beta=0": of_positive(sk.fbeta_score, beta=0.0),
    "specificity": lambda r: _share(r, r.pred != r.positive, r.label != r.positive),
    "false_positive_rate": lambda r: _share(r, r.pred == r.positive, r.label != r.positive),
    "false_negative_rate": lambda r: _share(r, r.pred != r.positive, r.label == r.positive),
    "selection_rate": lambda r: _share(r, r.pred == r.positive, np.ones(r.n, bool)),
    "balanced_accuracy": lambda r: sk.balanced_accuracy_score(
        r.label, r.pred, sample_weight=r.weight
    ),
    "matthews_corrcoef": _matthews,
    "cohen_kappa": lambda r: np.nan_to_num(  # 0/0 is NaN there
        sk.cohen_kappa_score(r.label, r.pred, sample_weight=r.weight)
    ),
}
AVERAGES: dict[str, Oracle] = {
    f"{name}_{average}": averaged(score, average)
    for name, score in (
        ("f1", sk.f1_score), ("precision", sk.precision_score), ("recall", sk.recall_score),
    )
    for average in ("micro", "macro", "weighted")
}  # fmt: skip
ORACLES: dict[str, tuple[Callable[[Rows], np.ndarray], Oracle]] = {
    **{text: on(_predicted, of) for text, of in (BINARY_ORACLES | AVERAGES).items()},
    "log_loss": on(
        _probable,
        lambda r: sk.log_loss(r.label, r.prob, labels=range(r.classes), sample_weight=r.weight),
    ),
    "brier": on(_probable, _brier),
    "ece": on(_probable, partial(_ece, 15)),
    "ece@bins=2": on(_probable, partial(_ece, 2)),
    "ece@bins=100": on(_probable, partial(_ece, 100)),
    "top_k_accuracy": on(_probable, partial(_hits, 2)),
    "top_k_accuracy@k=1": on(_probable, partial(_hits, 1)),
    "top_k_accuracy@k=3": on(_probable, partial(_hits, 3)),
    "mae": on(_paired, _error(sk.mean_absolute_error)),
    "mse": on(_paired, _error(sk.mean_squared_error)),
    "rmse": on(_paired, _error(sk.root_mean_squared_error)),
    "r2": on(_paired, _r2),
    "bias": on(_paired, lambda r: np.average(r.predicted - r.target, weights=r.weight)),
    "mape": on(_divisible, _error(sk.mean_absolute_percentage_error)),
    "mape_undefined": on(_paired, lambda r: (r.target == 0).sum()),
    "coverage": on(_all, lambda r: np.average(r.pred >= 0, weights=r.weight)),
    "count": on(_all, lambda r: r.n),
    "mean@column=x": on(_filled, lambda r: np.average(r.column, weights=r.weight)),
    "null_rate@column=x": on(_all, lambda r: np.average(np.isnan(r.column), weights=r.weight)),
}
RANKED = {"roc_auc": _ranked(sk.roc_auc_score), "pr_auc": _ranked(sk.average_precision_score)}
CHOOSING = [*BINARY_ORACLES]


@pytest.fixture(autouse=True)
def silent():
    """scikit-learn warns where a figure is 0/0, there is one class, or a class isn't labelled."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        yield


def sets_of(masks: np.ndarray) -> list[np.ndarray]:
    return [np.ones(N, bool), *masks.T]


def assert_is(text: str, rows: Rows, masks: np.ndarray, kept, oracle, narrow: bool = False) -> None:
    """Assert that a metric, its support and its share are the oracle's in every slice."""
    metric = parse_metric(text)
    found, classes = state(rows, masks, text, narrow)
    value, status = compute(metric, found, classes, found.at(0))
    of = family(metric, classes)
    support = of.support(found)
    share = of.share(found.weights, found.at(0))
    assert (share is not None) == is_share(metric)
    for i, member in enumerate(sets_of(masks)):
        held = rows[member & kept(rows)]
        assert support[i] == held.n
        if not held.n:
            assert np.isnan(value[i]) or metric.family in ("rows", "undefined")
            continue
        assert value[i] == pytest.approx(oracle(held), abs=CLOSE, rel=1e-12), ["all", *SLICES][i]
        assert status[i] in (OK, UNDEFINED)
        if status[i] == UNDEFINED:
            assert value[i] == 0 or metric.name == "r2"
        if share is not None:
            k, n = share[0][i], share[1][i]
            assert (n == 0) == (status[i] == UNDEFINED)
            assert n == 0 or value[i] == k / n


def test_every_metric_has_an_oracle():
    assert {t.partition("@")[0] for t in [*ORACLES, *RANKED]} == KINDS.keys()
    choosing = {name for name, kind in KINDS.items() if "top" in kind.parameters}
    assert choosing == {t.partition("@")[0] for t in CHOOSING}


@pytest.mark.parametrize("weighted", [False, True], ids=["rows", "weights"])
@pytest.mark.parametrize("classes", [2, 3, 5])
@pytest.mark.parametrize("text", ORACLES)
def test_figures_are_the_oracles(text, classes, weighted):
    for seed in range(2):
        rows, masks = drawn(seed, classes, weighted, positive=seed % classes)
        assert_is(text, rows, masks, *ORACLES[text])
        if classes == 2:
            assert_is(text, rows, masks, *ORACLES[text], narrow=True)


@pytest.mark.parametrize("weighted", [False, True], ids=["rows", "weights"])
@pytest.mark.parametrize("threshold", [0.0, 0.3, 0.5, 1.0])
@pytest.mark.parametrize("text", [*BINARY_ORACLES, *AVERAGES])
def test_predictions_by_a_threshold(text, threshold, weighted):
    mark = "," if "@" in text else "@"
    rows, masks = drawn(4, 2, weighted, positive=0 if threshold == 0.3 else 1, aligned=True)
    side = np.where(rows.score >= threshold, rows.positive, 1 - rows.positive)
    by_score = replace(rows, pred=np.where(np.isnan(rows.score), MISSING, side))
    oracle = (BINARY_ORACLES | AVERAGES)[text]
    for held in (rows, by_score):  # predictions of the model's own change nothing
        assert_is(
            f"{text}{mark}threshold={threshold}", held, masks, _probable,
            lambda r: oracle(
                replace(r, pred=np.where(r.score >= threshold, r.positive, 1 - r.positive))
            ),
        )  # fmt: skip


def least_chosen(rows: Rows, share: float) -> float:
    """Return the lowest score among the share of rows that score highest, with its ties."""
    held = rows[_probable(rows)]
    order = np.argsort(-held.score, kind="stable")
    enough = np.cumsum(held.w[order]) >= share * held.w.sum() * (1 - 1e-12)
    return float(held.score[order][enough][0]) if share else np.inf


@pytest.mark.parametrize("weighted", [False, True], ids=["rows", "weights"])
@pytest.mark.parametrize("share", [0.0, 0.01, 0.1, 0.5, 1.0])
@pytest.mark.parametrize("text", CHOOSING)
def test_predictions_of_the_share_of_all_rows_that_scores_highest(text, share, weighted):
    mark = "," if "@" in text else "@"
    for seed, positive in ((5, 1), (6, 0)):
        rows, masks = drawn(seed, 2, weighted, positive, aligned=True)
        rows.score[:3] = 1.0  # of no row these aren't chosen either
        least, oracle = least_chosen(rows, share), BINARY_ORACLES[text]
        assert_is(
            f"{text}{mark}top={share}", rows, masks, _probable,
            lambda r, p=positive, low=least, of=oracle: of(
                replace(r, pred=np.where(r.score >= low, p, 1 - p))
            ),
        )  # fmt: skip


@pytest.mark.parametrize("weighted", [False, True], ids=["rows", "weights"])
@pytest.mark.parametrize("bins", [2, 64, 4096])
@pytest.mark.parametrize("name", RANKED)
def test_rankings_are_exact_of_a_bin_per_score_and_else_within_their_bound(name, bins, weighted):
    metric = parse_metric(f"{name}@bins={bins}")
    for seed, positive in ((7, 1), (8, 0)):
        for aligned in (True, False):
            rows, masks = drawn(seed, 2, weighted, positive, aligned)
            if aligned:  # on the bins' lower ends, but for 1, which is in the last
                at = np.minimum(np.floor(rows.score * bins), bins - 1) / bins
                prob = np.stack([1 - at, at], axis=1)
                rows = replace(rows, prob=prob if positive else prob[:, ::-1])
            found, classes = state(rows, masks, str(metric), narrow=aligned)
            value, status = compute(metric, found, classes, found.at(0))
            off = bound(metric, found)
            for i, member in enumerate(sets_of(masks)):
                held = rows[member & _probable(rows)]
                wanted = RANKED[name](held)
                if np.isnan(wanted):
                    assert np.isnan(value[i])
                    assert status[i] == (SINGLE_CLASS if held.n else OK)
                    continue
                assert status[i] == OK
                assert abs(value[i] - wanted) <= CLOSE + (0 if aligned else off[i])


def test_weights_leave_no_rest_where_there_is_nothing():
    """Sums of weights in another order differ, and their difference is no denominator."""
    rng = np.random.default_rng(9)
    for classes in (3, 4, 5):
        for name in ("specificity", "false_positive_rate", "matthews_corrcoef"):
            for _ in range(200):
                confusion = np.zeros((classes, classes))
                confusion[1] = rng.random(classes)
                transposed = name == "matthews_corrcoef" and rng.random() < 0.5
                one = of_confusion(confusion.T if transposed else confusion)
                metric, of = parse_metric(name), Classes(tuple(range(classes)), 1)
                assert [float(v[0]) for v in compute(metric, one, of, one)] == [0.0, UNDEFINED]


def of_confusion(confusion: np.ndarray) -> State:
    """The state of one set of rows, in all forms that it has of few and of many classes."""
    wrong = confusion - np.diag(np.diag(confusion))
    others = np.arange(len(confusion)) != 1
    of_one = [confusion[np.ix_(a, b)].sum() for a in (others, ~others) for b in (others, ~others)]
    cells = {
        "confusion": confusion.ravel(), "confusion of one": np.array(of_one),
        "confusion right": np.diag(confusion), "confusion missed": wrong.sum(axis=1),
        "confusion false": wrong.sum(axis=0),
    }  # fmt: skip
    return State({name: of[None] for name, of in cells.items()})


@pytest.mark.parametrize(
    ("target", "predicted", "value", "status"),
    [
        ([3.0, 3.0], [3.0, 3.0], 1.0, UNDEFINED),
        ([3.0, 3.0], [3.0, 4.0], 0.0, UNDEFINED),
        ([0.1, 0.1, 0.1], [0.1, 0.2, 0.1], 0.0, UNDEFINED),
        ([0.0, 1.0], [0.0, 1.0], 1.0, OK),
        ([0.0, 1.0], [1.0, 0.0], -3.0, OK),
    ],
)
def test_r2_of_labels_that_are_all_the_same(target, predicted, value, status):
    rows, masks = drawn(1, 2, False)
    off = np.full(N, np.nan)
    off[: len(target)] = target
    other = np.full(N, np.nan)
    other[: len(target)] = predicted
    found, classes = state(replace(rows, target=off, predicted=other), masks, "r2")
    of = compute(parse_metric("r2"), found, classes, found.at(0))
    assert (of.value[0], of.status[0]) == (pytest.approx(value), status)
    if 0.1 not in target:  # their mean isn't 0.1, and scikit-learn's figure is -1.7e31
        assert sk.r2_score(target, predicted) == pytest.approx(value)


def test_predictions_that_are_no_class_do_not_count():
    rows, masks = drawn(3, 3, False)
    unknown = replace(rows, pred=np.where(np.arange(N) % 7 == 0, -2, rows.pred))
    left = replace(rows, pred=np.where(np.arange(N) % 7 == 0, MISSING, rows.pred))
    for text in ("accuracy", "coverage"):
        one, two = (state(r, masks, text)[0] for r in (unknown, left))
        for a, b in zip(one.rows.values(), two.rows.values(), strict=True):
            assert (a == b).all()
