from __future__ import annotations

import numpy as np
import pytest
import torch

from engine.classifier.data.dataset import DictDataLoader, DictDataset, with_masks
from engine.classifier.data.labels import SliceLabels, classes_of, concatenate, take

LABELS = torch.tensor([1, 0, 1, -1])


def masks(**columns):
    return np.rec.fromarrays([np.array(c) for c in columns.values()], names=list(columns))


def dataset(n=4):
    return DictDataset.from_tensors(torch.arange(n * 3.0).view(n, 3), LABELS[:n], "train")


def message(error, f, *args, **kwargs):
    with pytest.raises(error) as caught:
        f(*args, **kwargs)
    return str(caught.value)


def test_from_tensors_names_field_label_and_data_set():
    data = DictDataset.from_tensors(torch.eye(2), torch.tensor([0, 1]), "valid", "x", "y", "mine")
    assert (data.name, data.split) == ("mine", "valid")
    assert (list(data.X_dict), list(data.Y_dict), len(data)) == (["x"], ["y"], 2)
    fields, labels = data[1]
    assert fields["x"].tolist() == [0.0, 1.0]
    assert labels["y"].item() == 1


def test_a_loader_gives_the_rows_in_batches():
    batches = list(DictDataLoader(dataset(), batch_size=3))
    assert [len(fields["input_data"]) for fields, _ in batches] == [3, 1]
    together = torch.cat([fields["input_data"] for fields, _ in batches])
    assert torch.equal(together, dataset().X_dict["input_data"])
    assert torch.cat([labels["task"] for _, labels in batches]).tolist() == LABELS.tolist()


def test_a_loader_takes_the_settings_of_torch():
    def drawn(seed):
        generator = torch.Generator().manual_seed(seed)
        loader = DictDataLoader(
            dataset(), batch_size=3, shuffle=True, drop_last=True, generator=generator
        )
        return [fields["input_data"][:, 0].tolist() for fields, _ in loader]

    assert [len(batch) for batch in drawn(1)] == [3]
    assert drawn(1) == drawn(1)
    assert len({str(drawn(seed)) for seed in range(8)}) > 1


def test_worker_processes_give_the_same_batches():
    data = with_masks(dataset(), "task", masks(a=[1, 0, 1, 0]), ["a"])
    for (x, y), (x2, y2) in zip(
        DictDataLoader(data, batch_size=2),
        DictDataLoader(data, batch_size=2, num_workers=1),
        strict=True,
    ):
        assert torch.equal(x["input_data"], x2["input_data"])
        assert list(y) == list(y2)
        assert all(torch.equal(y[label], y2[label]) for label in y)


def test_fields_that_are_no_tensors_come_as_lists_and_ragged_tensors_padded():
    fields = {
        "text": ["a", "b", "c"],
        "ids": [torch.tensor([1]), torch.tensor([2, 3]), torch.tensor([4])],
        "scalar": [torch.tensor(1.5), torch.tensor(2.5), torch.tensor(3.5)],
    }
    data = DictDataset("d", "train", fields, {"task": torch.tensor([0, 1, 0])})
    batch, _ = next(iter(DictDataLoader(data, batch_size=2)))
    assert batch["text"] == ["a", "b"]
    assert batch["ids"].tolist() == [[1, 0], [2, 3]]
    assert batch["scalar"].tolist() == [1.5, 2.5]


def test_slice_labels_are_masks_and_masked_task_labels():
    labels = with_masks(dataset(), "task", masks(a=[1, 0, -1, 1]), ["a", "base"]).Y_dict
    assert list(labels) == [
        "task",
        "task_slice:a_ind",
        "task_slice:base_ind",
        "task_slice:a_pred",
        "task_slice:base_pred",
    ]
    assert len(labels) == 5
    assert labels["task_slice:a_ind"].tolist() == [1, 0, -1, 1]
    assert labels["task_slice:a_pred"].tolist() == [1, -1, -1, -1]
    assert labels["task_slice:base_ind"].tolist() == [1, 1, 1, 1]
    assert labels["task_slice:base_pred"].tolist() == LABELS.tolist()
    with pytest.raises(KeyError):
        labels["task_slice:b_ind"]


def test_boolean_masks_are_masks():
    labels = with_masks(dataset(), "task", masks(a=[True, False, True, False]), ["a"]).Y_dict
    assert labels["task_slice:a_ind"].tolist() == [1, 0, 1, 0]


def test_masks_for_base_are_kept():
    labels = with_masks(dataset(), "task", masks(base=[1, 0, 0, 1]), ["base"]).Y_dict
    assert labels["task_slice:base_ind"].tolist() == [1, 0, 0, 1]


def test_adding_masks_leaves_the_data_set_as_it_was():
    data = dataset()
    twice = with_masks(
        with_masks(data, "task", masks(a=[1, 1, 0, 0]), ["a"]), "task", masks(b=[1] * 4), ["b"]
    )
    assert list(data.Y_dict) == ["task"]
    assert isinstance(twice.Y_dict, SliceLabels)
    assert twice.Y_dict.names == ("b", "base")


def test_cut_and_put_together_again_labels_are_the_same():
    labels = with_masks(dataset(), "task", masks(a=[1, 0, -1, 1]), ["a", "base"]).Y_dict
    again = concatenate([take(labels, torch.tensor([0, 1])), take(labels, torch.tensor([2, 3]))])
    assert all(torch.equal(labels[label], again[label]) for label in labels)


def test_batches_know_which_rows_they_are():
    data = with_masks(dataset(), "task", masks(a=[1, 0, -1, 1]), ["a"])
    generator = torch.Generator().manual_seed(1)
    loader = DictDataLoader(data, batch_size=3, shuffle=True, generator=generator)
    for fields, labels in loader:
        assert torch.equal(fields["input_data"], data.X_dict["input_data"][labels.rows])
    together = concatenate([labels for _, labels in loader])
    assert together.rows.sort().values.tolist() == [0, 1, 2, 3]
    assert data.called([0, 2]) == ["row 0", "row 2"]


def test_keys_name_rows_and_stay_with_masks():
    data = DictDataset.from_tensors(torch.eye(2), LABELS[:2], "train", keys=["x", 7])
    masked = with_masks(data, "task", masks(a=[1, 0]), ["a"])
    assert masked.called([1, 0]) == ["7", "x"]
    assert message(
        ValueError, DictDataset.from_tensors, torch.eye(2), LABELS[:2], "train", keys=["x"]
    ) == (
        "the fields and labels of data set 'SliceDataset' differ in length: input_data has 2, "
        "task has 2, keys has 1; give each one value per row"
    )


def test_soft_labels_are_classes_where_masks_and_metrics_ask():
    soft = torch.tensor([[0.2, 0.8], [0.9, 0.1], [-1.0, -1.0], [0.5, 0.5]])
    data = DictDataset.from_tensors(torch.eye(4), soft, "train")
    labels = with_masks(data, "task", masks(a=[1, 1, 1, 0]), ["a"]).Y_dict
    assert labels["task_slice:a_pred"].tolist() == [1, 0, -1, -1]
    assert torch.equal(labels["task"], soft)
    assert classes_of(soft).tolist() == [1, 0, -1, 0]
    assert classes_of(LABELS).tolist() == LABELS.tolist()


def test_a_data_set_without_labels_has_no_rows():
    assert len(DictDataset("d", "train", {}, {})) == 0


def test_messages():
    data = dataset()
    assert message(ValueError, DictDataset.from_tensors, torch.eye(2), [0, 1], "train") == (
        "label 'task' is of type list, and must be a torch.Tensor: wrap it with torch.as_tensor"
    )
    assert message(ValueError, DictDataset.from_tensors, torch.eye(3), LABELS, "train") == (
        "the fields and labels of data set 'SliceDataset' differ in length: input_data has 3, "
        "task has 4; give each one value per row"
    )
    assert message(ValueError, with_masks, data, "spam", masks(a=[1] * 4), ["a"]) == (
        "data set 'SliceDataset' has no labels for task 'spam'; its labels are task: name them "
        "so in Y_dict, or give the model their task_name"
    )
    assert message(ValueError, with_masks, data, "task", masks(a=[1] * 3), ["a"]) == (
        "S has 3 rows and data set 'SliceDataset' has 4: apply the slicing functions to the rows "
        "of this data set"
    )
    assert message(ValueError, with_masks, data, "task", masks(a=[1] * 4), ["a", "b", "c"]) == (
        "S has no mask for 'b', 'c', which the model has; its masks are a, base: apply the "
        "slicing functions of the model's slices"
    )
    assert message(ValueError, with_masks, data, "task", masks(a=[0, 1, 2, 3]), ["a"]) == (
        "the mask of slice 'a' holds 2 in row 2; a mask is 1 (in), 0 (out) or -1 (could not be "
        "decided)"
    )
    sentence = np.rec.fromarrays([np.array([True, "True", False, True], dtype=object)], names=["a"])
    assert message(ValueError, with_masks, data, "task", sentence, ["a"]) == (
        "the mask of slice 'a' holds 'True' in row 1; a mask is 1 (in), 0 (out) or -1 (could not "
        "be decided)"
    )
    none = np.rec.fromarrays([np.array([True, None, False, True], dtype=object)], names=["a"])
    labels = with_masks(data, "task", none, ["a"]).Y_dict
    assert labels["task_slice:a_ind"].tolist() == [1, -1, 0, 1]
