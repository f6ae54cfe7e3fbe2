from __future__ import annotations

import math

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from engine.classifier.data.dataset import DictDataset
from engine.classifier.heads import ATTENTIONS, StackedLinear
from engine.classifier.model import SliceAwareClassifier, SlicingClassifier
from engine.classifier.train import Trainer
from engine.metrics.scorer import Scorer


def message(error, f, *args, **kwargs):
    with pytest.raises(error) as caught:
        f(*args, **kwargs)
    return str(caught.value)


def masks(**columns):
    return np.rec.fromarrays([np.array(c) for c in columns.values()], names=list(columns))


def one_by_one(model, X):
    """The definition, head by head."""
    h = model.base_architecture(X)
    indicators, predictors, experts = [], [], []
    for s in range(len(model.head_names)):
        indicators.append(F.linear(h, model.indicator.weight[s], model.indicator.bias[s]))
        experts.append(F.linear(h, model.transform.weight[s], model.transform.bias[s]))
        predictors.append(model.predictor(experts[-1]))
    p_in = torch.stack([i.softmax(-1)[:, 1] for i in indicators], 1)
    probs = torch.stack(predictors, 1).softmax(-1)
    confidence = probs[..., 1] if model.n_classes == 2 else probs.max(-1).values
    attention = (p_in * confidence / model.temperature).softmax(-1)
    logits = model.master((attention[..., None] * torch.stack(experts, 1)).sum(1))
    return logits, torch.stack(indicators, 1), torch.stack(predictors, 1), attention


@pytest.mark.parametrize("n_classes", [2, 3, 7])
@pytest.mark.parametrize("n_rows", [1, 4, 40])  # both orders of multiplication
@pytest.mark.parametrize("slices", [(), ("a",), ("a", "b", "c")])
def test_stacked_heads_equal_heads_one_by_one(make, n_classes, n_rows, slices):
    parts = make(slices or ("x",), n_classes=n_classes)
    model = SlicingClassifier(
        parts.model.base_architecture, 5, slices, n_classes=n_classes, temperature=0.3
    )
    X = parts.X[:n_rows]
    outputs = model({"input_data": X})
    S = len(slices) + 1
    assert outputs.logits.shape == (n_rows, n_classes)
    assert outputs.indicators.shape == (n_rows, S, 2)
    assert outputs.predictors.shape == (n_rows, S, n_classes)
    assert outputs.attention.shape == (n_rows, S)
    for ours, wanted in zip(
        (outputs.logits, outputs.indicators, outputs.predictors, outputs.attention),
        one_by_one(model, X),
        strict=True,
    ):
        torch.testing.assert_close(ours, wanted, rtol=1e-5, atol=1e-6)


def test_base_is_added_once():
    assert SlicingClassifier(nn.Identity(), 4, ["a"]).head_names == ("a", "base")
    assert SlicingClassifier(nn.Identity(), 4, ["base", "a"]).head_names == ("base", "a")
    assert SlicingClassifier(nn.Identity(), 4, ["a"]).slice_names == ["a"]
    assert SliceAwareClassifier is SlicingClassifier


def test_every_head_is_drawn_as_a_linear_layer_is():
    torch.manual_seed(3)
    layers = [nn.Linear(9, 4) for _ in range(3)]
    torch.manual_seed(3)
    stacked = StackedLinear(3, 9, 4)
    assert torch.equal(stacked.weight, torch.stack([layer.weight for layer in layers]))
    assert torch.equal(stacked.bias, torch.stack([layer.bias for layer in layers]))


def test_losses_are_mean_cross_entropies_over_active_rows(make):
    parts = make()
    parts.S["short"][:10] = -1
    parts.Y[20:25] = -1
    loader = parts.model.make_slice_dataloader(parts.data, parts.S, batch_size=40)
    X_dict, Y_dict = next(iter(loader))
    losses, counts = parts.model.calculate_loss(X_dict, Y_dict)
    logits, indicators, predictors, _ = one_by_one(parts.model, parts.X)
    heads = {"task": logits}
    for s, name in enumerate(("short", "link", "base")):
        heads[f"task_slice:{name}_ind"] = indicators[:, s]
        heads[f"task_slice:{name}_pred"] = predictors[:, s]
    assert set(losses) == set(counts) == set(heads)
    for label, head in heads.items():
        active = Y_dict[label] != -1
        assert counts[label] == int(active.sum())
        wanted = F.cross_entropy(head[active], Y_dict[label][active])
        torch.testing.assert_close(losses[label], wanted, rtol=1e-5, atol=1e-6)
    torch.testing.assert_close(parts.model.loss(X_dict, Y_dict).total, sum(losses.values()))


def test_a_null_mask_makes_both_labels_of_the_row_inactive(make):
    parts = make(("short",))
    parts.S["short"][:] = 1
    parts.S["short"][:7] = -1
    _, counts = parts.model.calculate_loss(
        *next(iter(parts.model.make_slice_dataloader(parts.data, parts.S, batch_size=40)))
    )
    assert counts["task_slice:short_ind"] == counts["task_slice:short_pred"] == 33
    assert counts["task"] == counts["task_slice:base_pred"] == 40


def test_a_task_without_an_active_row_contributes_nothing(make):
    parts = make(("never",))
    parts.S["never"][:] = 0
    X_dict, Y_dict = next(
        iter(parts.model.make_slice_dataloader(parts.data, parts.S, batch_size=40))
    )
    losses, _ = parts.model.calculate_loss(X_dict, Y_dict)
    tasks = parts.model.loss(X_dict, Y_dict)
    assert "task_slice:never_pred" not in losses
    assert tasks.losses[parts.model.label_names.index("task_slice:never_pred")] == 0
    torch.testing.assert_close(tasks.total, sum(losses.values()))


def test_labels_of_a_plain_dict_give_the_same_losses(make):
    parts = make()
    X_dict, Y_dict = next(iter(parts.loader))
    stacked, plain = parts.model.loss(X_dict, Y_dict), parts.model.loss(X_dict, dict(Y_dict))
    assert torch.equal(stacked.losses, plain.losses)
    assert torch.equal(stacked.counts, plain.counts)
    only_task, counts = parts.model.calculate_loss(X_dict, {"task": Y_dict["task"]})
    assert counts == {"task": 16}
    assert torch.equal(only_task["task"], stacked.losses[0])


def test_masks_in_another_order_give_the_same_losses(make):
    parts = make(("a", "b", "c"))
    other = SlicingClassifier(nn.Identity(), 6, ("c", "b", "a"))
    loader = other.make_slice_dataloader(parts.data, parts.S, batch_size=16)
    here, there = (
        parts.model.calculate_loss(*next(iter(batches))) for batches in (parts.loader, loader)
    )
    assert here[1] == there[1]
    assert all(torch.equal(here[0][label], there[0][label]) for label in here[0])


ROWS = 8
mask_values = st.lists(st.sampled_from([-1, 0, 1]), min_size=ROWS, max_size=ROWS)
label_values = st.lists(st.sampled_from([-1, 0, 1]), min_size=ROWS, max_size=ROWS)


@settings(max_examples=60, deadline=None)
@given(mask_values, mask_values, label_values, st.integers(0, 2**31), st.floats(-1e3, 1e3))
def test_inactive_rows_change_no_gradient_of_a_slice_head(first, second, golds, seed, moved_by):
    torch.manual_seed(seed)
    model = SlicingClassifier(nn.Linear(3, 4), 4, ["a", "b"])
    X, Y = torch.randn(ROWS, 3), torch.tensor(golds)
    data = DictDataset.from_tensors(X, Y, "train")
    S = masks(a=first, b=second)
    _, labels = next(iter(model.make_slice_dataloader(data, S, batch_size=ROWS)))

    def gradients(inputs, task):
        model.zero_grad()
        model.loss({"input_data": inputs}, labels).losses[task].backward()
        return [p.grad.clone() for p in model.parameters() if p.grad is not None]

    for task, label in enumerate(model.label_names[1:], start=1):
        moved = torch.where((labels[label] == -1)[:, None], X + moved_by, X)
        for before, after in zip(gradients(X, task), gradients(moved, task), strict=True):
            torch.testing.assert_close(before, after, rtol=1e-5, atol=1e-7)


def test_predict_gives_golds_probabilities_and_predictions_in_order(make):
    parts = make(n=37)
    results = parts.model.predict(parts.loader, return_preds=True)
    logits, indicators, predictors, _ = one_by_one(parts.model, parts.X)
    assert set(results) == {"golds", "probs", "preds"}
    assert set(results["probs"]) == set(parts.model.label_names)
    assert torch.equal(results["golds"]["task"], parts.Y)
    for label, wanted in (
        ("task", logits),
        ("task_slice:short_ind", indicators[:, 0]),
        ("task_slice:base_pred", predictors[:, 2]),
    ):
        torch.testing.assert_close(results["probs"][label], wanted.softmax(-1), rtol=0, atol=1e-6)
        assert torch.equal(results["preds"][label], results["probs"][label].argmax(-1))
    assert "preds" not in parts.model.predict(parts.loader)


def test_labels_can_be_remapped_and_left_out(make):
    parts = make()
    results = parts.model.predict(
        parts.loader, remap_labels={"task_slice:short_ind": None, "task_slice:link_pred": "task"}
    )
    assert "task_slice:short_ind" not in results["probs"]
    assert torch.equal(results["probs"]["task_slice:link_pred"], results["probs"]["task"])
    assert message(ValueError, parts.model.predict, parts.loader, False, {"task": "tusk"}) == (
        "remap_labels sends label 'task' to task 'tusk', which the model does not have; "
        "did you mean 'task'?"
    )


def test_probabilities_of_a_batch_leave_the_model_as_it_was(make):
    parts = make()
    parts.model.base_architecture.append(nn.Dropout(0.9))
    parts.model.train()
    first, again = (parts.model.predict_proba({"input_data": parts.X}) for _ in range(2))
    assert isinstance(first, np.ndarray)
    assert first.shape == (40, 2)
    np.testing.assert_allclose(first.sum(1), 1, rtol=1e-6)
    assert np.array_equal(first, again)
    assert parts.model.training


def test_score_slices_scores_the_master_head_inside_each_slice(make):
    parts = make(("window", "indoor_pred", "task"), split="test")
    frame = parts.model.score_slices([parts.loader], as_dataframe=True)
    assert list(frame.columns) == ["label", "dataset", "split", "metric", "score"]
    assert set(frame.label) == {
        "task",
        "task_slice:window_pred",
        "task_slice:indoor_pred_pred",
        "task_slice:task_pred",
        "task_slice:base_pred",
    }
    preds = parts.model.predict_proba({"input_data": parts.X}).argmax(1)
    correct = preds == parts.Y.numpy()
    scores = parts.model.score_slices([parts.loader])
    assert scores["task/SliceDataset/test/accuracy"] == pytest.approx(correct.mean())
    for name in parts.S.dtype.names:
        wanted = correct[parts.S[name] == 1].mean()
        assert scores[f"task_slice:{name}_pred/SliceDataset/test/accuracy"] == pytest.approx(wanted)


def test_score_slices_runs_the_model_once_per_batch(make):
    parts = make(tuple(f"s{i}" for i in range(20)))
    calls = []
    parts.model.base_architecture.register_forward_hook(lambda *_: calls.append(1))
    parts.model.score_slices([parts.loader])
    assert len(calls) == len(parts.loader) == 3


def test_score_scores_every_head_on_its_own_labels(make):
    parts = make()
    scores = parts.model.score([parts.loader])
    results = parts.model.predict(parts.loader, return_preds=True)
    golds, preds = (results[k]["task_slice:short_pred"].numpy() for k in ("golds", "preds"))
    wanted = (golds == preds)[golds != -1].mean()
    assert scores["task_slice:short_pred/SliceDataset/train/accuracy"] == pytest.approx(wanted)
    assert {key.rsplit("/", 1)[1] for key in scores if "_ind/" in key} == {"f1"}
    assert len(scores) == 2 + 3 * 2 + 3


def test_an_empty_slice_and_an_empty_data_set_score_nan(make):
    parts = make(("never",))
    parts.S["never"][:] = 0
    parts.S["never"][3] = -1
    scores = parts.model.score_slices([parts.model.make_slice_dataloader(parts.data, parts.S)])
    assert math.isnan(scores["task_slice:never_pred/SliceDataset/train/f1"])
    assert not math.isnan(scores["task/SliceDataset/train/accuracy"])

    nothing = DictDataset.from_tensors(parts.X[:0], parts.Y[:0], "test")
    empty = parts.model.make_slice_dataloader(nothing, parts.S[:0])
    assert all(map(math.isnan, parts.model.score_slices([empty]).values()))
    assert parts.model.predict(empty)["probs"]["task_slice:never_ind"].shape == (0, 2)


def test_slices_that_the_model_does_not_have_are_scored_but_not_learned(make):
    parts = make(("a", "b"))
    model = SlicingClassifier(parts.model.base_architecture, 5, ["b"])
    loader = model.make_slice_dataloader(parts.data, parts.S)
    assert set(model.score_slices([loader], as_dataframe=True).label) == {
        "task",
        "task_slice:a_pred",
        "task_slice:b_pred",
        "task_slice:base_pred",
    }
    assert "task_slice:a_pred" not in model.calculate_loss(*next(iter(loader)))[0]
    assert "task_slice:a_pred" not in model.predict(loader)["probs"]


def test_more_than_two_classes_are_scored_and_a_scorer_can_be_given(make):
    parts = make(n_classes=4)
    assert {key.rsplit("/", 1)[1] for key in parts.model.score_slices([parts.loader])} == {
        "accuracy",
        "f1_macro",
    }
    scorer = Scorer(custom_metric_funcs={"rows": lambda golds, preds, probs: len(probs)})
    model = SlicingClassifier(nn.Identity(), 6, ["short", "link"], scorer=scorer)
    scores = model.score_slices([parts.loader])
    assert scores["task/SliceDataset/train/rows"] == 40
    assert scores["task_slice:link_pred/SliceDataset/train/rows"] == int(parts.S["link"].sum())


def test_a_slice_named_twice():
    assert message(ValueError, SlicingClassifier, nn.Identity(), 4, ["a", "b", "a"]) == (
        "slice_names has 'a' twice; each slice has one head"
    )


def batch_of(parts):
    loader = parts.model.make_slice_dataloader(parts.data, parts.S, batch_size=len(parts.data))
    return next(iter(loader))


def rebuilt(parts, **settings):
    """The same weights under other settings."""
    model = SlicingClassifier(
        parts.model.base_architecture,
        5,
        parts.model.slice_names,
        n_classes=parts.model.n_classes,
        **settings,
    )
    model.load_state_dict(parts.model.state_dict())
    return model


def test_the_indicators_losses_and_slices_can_be_weighted(make):
    parts = make()
    X_dict, Y_dict = batch_of(parts)
    plain = parts.model.loss(X_dict, Y_dict)
    model = rebuilt(parts, indicator_loss_weight=0.5, slice_weights={"link": 3.0, "base": 0.0})
    weighted = model.loss(X_dict, Y_dict)
    assert torch.equal(weighted.losses, plain.losses)
    by_label = dict(zip(model.label_names, plain.losses.tolist(), strict=True))
    counts = {"task": 1, "short_ind": 0.5, "short_pred": 1, "link_ind": 1.5, "link_pred": 3}
    wanted = sum(
        weight * by_label[label if label == "task" else f"task_slice:{label}"]
        for label, weight in counts.items()
    )
    assert weighted.total.item() == pytest.approx(wanted, rel=1e-5)


@pytest.mark.parametrize("n_classes", [2, 3])
def test_class_weights_give_weighted_means(make, n_classes):
    parts = make(n_classes=n_classes)
    parts.Y[3:8] = -1
    weights = [0.5, 2.0, 1.0][:n_classes]
    model = rebuilt(parts, class_weights=weights)
    X_dict, Y_dict = batch_of(parts)
    losses, _ = model.calculate_loss(X_dict, Y_dict)
    outputs = model(X_dict)
    heads = {"task": outputs.logits}
    heads |= {
        f"task_slice:{name}_pred": outputs.predictors[:, i]
        for i, name in enumerate(model.head_names)
    }
    for label, logits in heads.items():
        wanted = F.cross_entropy(
            logits, Y_dict[label], torch.tensor(weights), ignore_index=-1, reduction="mean"
        )
        torch.testing.assert_close(losses[label], wanted)
    plain, _ = parts.model.calculate_loss(X_dict, Y_dict)
    assert torch.equal(losses["task_slice:short_ind"], plain["task_slice:short_ind"])


@pytest.mark.parametrize("soft", [False, True])
@pytest.mark.parametrize("n_classes", [2, 3])
def test_a_row_that_counts_twice_is_two_rows(make, n_classes, soft):
    parts = make(n_classes=n_classes)
    parts.Y[3:8] = -1
    labels = parts.Y
    if soft:
        labels = torch.randn(40, n_classes).softmax(-1)
        labels[3:8] = -1
    model = rebuilt(parts, class_weights=[0.5, 2.0, 1.0][:n_classes], row_weights="w")
    count = torch.tensor([1, 2, 0, 3]).repeat(10)
    fields = {"input_data": parts.X, "w": count.float()}
    data = DictDataset("d", "train", fields, {"task": labels})
    loader = model.make_slice_dataloader(data, parts.S, batch_size=40)
    ours = model.loss(*next(iter(loader)))
    twice = torch.repeat_interleave(torch.arange(40), count)
    model.row_weights = None
    wanted = model.loss(*loader.dataset.__getitems__(twice))
    torch.testing.assert_close(ours.losses, wanted.losses)


@pytest.mark.parametrize("n_classes", [2, 4])
@pytest.mark.parametrize("weighted", [False, True])
def test_soft_labels_that_are_sure_are_hard_labels(make, n_classes, weighted):
    parts = make(n_classes=n_classes)
    parts.Y[:6] = -1
    weights = [1.0, 3.0, 0.5, 1.0][:n_classes] if weighted else None
    model = rebuilt(parts, class_weights=weights)
    soft = F.one_hot(parts.Y.clamp(min=0), n_classes).float()
    soft[parts.Y < 0] = -1
    data = DictDataset.from_tensors(parts.X, soft, "train")
    loader = model.make_slice_dataloader(data, parts.S, batch_size=40)
    ours = model.loss(*next(iter(loader)))
    wanted = model.loss(*batch_of(parts))
    torch.testing.assert_close(ours.losses, wanted.losses)
    assert torch.equal(ours.counts, wanted.counts)
    assert model.score_slices([loader]) == model.score_slices(
        [model.make_slice_dataloader(parts.data, parts.S, batch_size=40)]
    )


def test_soft_labels_are_cross_entropies_of_shares(make):
    parts = make(n_classes=3)
    soft = torch.randn(40, 3).softmax(-1)
    data = DictDataset.from_tensors(parts.X, soft, "train")
    X_dict, Y_dict = next(iter(parts.model.make_slice_dataloader(data, parts.S, batch_size=40)))
    losses, _ = parts.model.calculate_loss(X_dict, Y_dict)
    outputs = parts.model(X_dict)
    torch.testing.assert_close(losses["task"], F.cross_entropy(outputs.logits, soft))
    inside = torch.from_numpy(parts.S["short"] == 1)
    wanted = F.cross_entropy(outputs.predictors[inside, 0], soft[inside])
    torch.testing.assert_close(losses["task_slice:short_pred"], wanted)


@pytest.mark.parametrize("n_classes", [2, 3])
@pytest.mark.parametrize("attention", ATTENTIONS)
def test_attention_is_what_its_name_says(make, attention, n_classes):
    parts = make(n_classes=n_classes)
    model = rebuilt(parts, attention=attention, temperature=0.7)
    outputs = model({"input_data": parts.X})
    p_in = outputs.indicators.softmax(-1)[..., 1]
    q = torch.logit(p_in)
    probs, ordered = outputs.predictors.softmax(-1), outputs.predictors.sort(-1).values
    p = (ordered[..., -1] - ordered[..., -2]).abs()
    confidence = probs[..., 1] if n_classes == 2 else probs.amax(-1)
    scores = {
        "snorkel": p_in * confidence,
        "paper": q + p,
        "indicator": q,
        "confidence": p,
        "uniform": torch.zeros_like(q),
    }[attention]
    torch.testing.assert_close(outputs.attention, (scores / 0.7).softmax(-1), rtol=1e-4, atol=1e-5)
    experts = (
        torch.einsum("bi,soi->bso", model.base_architecture(parts.X), model.transform.weight)
        + model.transform.bias
    )
    wanted = model.master((outputs.attention[..., None] * experts).sum(1))
    torch.testing.assert_close(outputs.logits, wanted, rtol=1e-5, atol=1e-5)


class TwoFields(nn.Module):
    def __init__(self):
        super().__init__()
        self.words, self.numbers = nn.Embedding(10, 4), nn.Linear(2, 4)

    def forward(self, fields):
        return self.words(fields["words"]).mean(1) + self.numbers(fields["numbers"])


def test_a_base_can_read_several_fields():
    torch.manual_seed(0)
    model = SlicingClassifier(TwoFields(), 4, ["a"], input_data_key=["words", "numbers"])
    fields = {
        "words": torch.randint(0, 10, (12, 5)),
        "numbers": torch.randn(12, 2),
        "weight": torch.ones(12),
    }
    data = DictDataset("d", "train", fields, {"task": torch.arange(12) % 2})
    loader = model.make_slice_dataloader(data, masks(a=[0, 1] * 6), batch_size=5)
    Trainer(progress_bar=False).fit(model, [loader])
    assert model.predict_proba(fields).shape == (12, 2)
    assert message(ValueError, model.predict_proba, {"words": fields["words"]}) == (
        "the base reads 'numbers', which the rows do not have; their fields are words: rename "
        "them, or set input_data_key"
    )


def test_slices_can_be_added_without_touching_the_others(make):
    parts = make()
    Trainer(n_epochs=2, progress_bar=False).fit(parts.model, [parts.loader])
    before, weights = parts.model({"input_data": parts.X}), parts.model.state_dict()
    weights = {name: tensor.clone() for name, tensor in weights.items()}
    torch.manual_seed(5)
    parts.model.add_slices(["new", "newer"])
    assert parts.model.head_names == ("short", "link", "new", "newer", "base")
    assert parts.model.slice_names == ["short", "link", "new", "newer"]
    old = torch.tensor([0, 1, 4])
    for name, tensor in parts.model.state_dict().items():
        expected = tensor[old] if name.startswith(("indicator", "transform")) else tensor
        assert torch.equal(expected, weights[name]), name
    after = parts.model({"input_data": parts.X})
    assert torch.equal(after.indicators[:, old], before.indicators)
    torch.testing.assert_close(after.predictors[:, old], before.predictors, rtol=0, atol=1e-6)
    torch.manual_seed(5)
    layers = [nn.Linear(5, 2) for _ in range(2)]
    for i, layer in enumerate(layers):
        assert torch.equal(parts.model.indicator.weight[2 + i], layer.weight)
    assert "task_slice:newer_ind" in parts.model.label_names
    assert message(ValueError, parts.model.add_slices, ["link"]) == (
        "slice_names has 'link' twice; each slice has one head"
    )


@pytest.mark.parametrize("optimizer", ["adam", "sgd", "adamw"])
def test_new_slices_can_be_trained_alone(make, optimizer):
    parts = make()
    Trainer(n_epochs=1, progress_bar=False).fit(parts.model, [parts.loader])
    parts.model.add_slices(["new"])
    parts.model.train_only(["new"])
    before = {name: tensor.clone() for name, tensor in parts.model.state_dict().items()}
    S = masks(short=parts.S["short"], link=parts.S["link"], new=[0, 1] * 20)
    loader = parts.model.make_slice_dataloader(parts.data, S, batch_size=8)
    Trainer(n_epochs=2, lr=0.1, l2=0.1, optimizer=optimizer, progress_bar=False).fit(
        parts.model, [loader]
    )
    for name, tensor in parts.model.state_dict().items():
        if name.startswith(("indicator", "transform")):
            assert torch.equal(tensor[[0, 1, 3]], before[name][[0, 1, 3]]), name
            assert not torch.equal(tensor[2], before[name][2])
        else:
            assert torch.equal(tensor, before[name]), name
    parts.model.train_only(None)
    Trainer(progress_bar=False).fit(parts.model, [loader])
    assert not any(torch.equal(t, before[name]) for name, t in parts.model.state_dict().items())
    assert message(ValueError, parts.model.train_only, ["nwe"]) == (
        "SlicingClassifier: train_only is ['nwe']; did you mean 'new'?"
    )


@pytest.mark.parametrize(
    ("base", "shape"),
    [
        (nn.Linear(6, 7), "an output 7 wide"),
        (nn.Unflatten(1, (2, 3)), "an output of 3 dimensions, [2, 2, 3]"),
        (nn.LSTM(6, 5), "a tuple, not a tensor"),
    ],
)
def test_a_base_of_another_width_is_found_before_training(make, base, shape):
    parts = make()
    model = SlicingClassifier(base, 5, ["short", "link"])
    before = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    loader = model.make_slice_dataloader(parts.data, parts.S)
    assert message(ValueError, Trainer(progress_bar=False).fit, model, [loader]) == (
        f"base_architecture gives {shape}, and head_dim is 5: the output must be [batch, 5]; "
        "change head_dim, or the base's last layer"
    )
    assert all(torch.equal(before[name], t) for name, t in model.state_dict().items())


def test_labels_that_can_not_be(make):
    parts = make()

    def refused(Y, keys=None, **settings):
        data = DictDataset.from_tensors(parts.X, Y, "train", keys=keys)
        return message(ValueError, parts.model.make_slice_dataloader, data, parts.S)

    Y = parts.Y.clone()
    Y[7] = 2
    keys = [f"c{i}" for i in range(40)]
    assert refused(Y) == (
        "label 'task' of data set 'SliceDataset' is 2 at row 7; labels are 0 to 1 (n_classes=2), "
        "or -1 for none"
    )
    assert refused(-2 * Y, keys).startswith(
        "label 'task' of data set 'SliceDataset' is -2 at c1; labels"
    )
    assert "is 0.5 at row 0;" in refused(torch.full((40,), 0.5))
    assert refused(torch.rand(40, 3)) == (
        "label 'task' of data set 'SliceDataset' is [40, 3] of torch.float32; soft labels are one "
        "probability per row and class, [40, 2] floats"
    )
    assert "is [40, 2] of torch.int64;" in refused(torch.ones(40, 2).long())
    soft = torch.full((40, 2), 0.5)
    soft[9] = torch.tensor([0.9, 0.3])
    assert refused(soft, keys) == (
        "label 'task' of data set 'SliceDataset' is [0.9, 0.3] at c9; a soft label is "
        "probabilities that sum to 1, or all -1 for none"
    )


@pytest.mark.parametrize(
    ("settings", "wanted"),
    [
        ({"attention": "papper"}, "attention is 'papper'; did you mean 'paper'?"),
        ({"temperature": 0.0}, "temperature is 0.0, and must be above 0"),
        (
            {"indicator_loss_weight": -1.0},
            "indicator_loss_weight is -1.0, and must not be below 0",
        ),
        ({"slice_weights": {"lnk": 2}}, "slice_weights is {'lnk': 2}; did you mean 'link'?"),
        (
            {"slice_weights": {"link": -2}},
            "slice_weights is {'link': -2}, and must be slices with numbers that are not below 0",
        ),
        (
            {"class_weights": [1.0]},
            "class_weights is [1.0], and must be 2 numbers, none below 0 and not all 0",
        ),
    ],
)
def test_settings_that_can_not_be(settings, wanted):
    sentence = message(ValueError, SlicingClassifier, nn.Identity(), 4, ["link"], **settings)
    assert sentence == f"SlicingClassifier: {wanted}"
