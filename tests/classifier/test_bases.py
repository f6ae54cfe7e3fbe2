from __future__ import annotations

import pytest
import torch
from torch import nn

from engine.classifier.bases import build_base


def message(error, f, *args, **kwargs):
    with pytest.raises(error) as caught:
        f(*args, **kwargs)
    return str(caught.value)


def test_an_mlp_has_the_layers_of_its_spec():
    base = build_base({"kind": "mlp", "layers": 2, "width": None}, 7)
    assert [type(step) for step in base.module] == [nn.Linear, nn.ReLU] * 2
    assert base.width == 7
    assert [
        p.shape for p in build_base({"kind": "mlp", "layers": 3, "width": 4}, 7).module.parameters()
    ][::2] == [(4, 7), (4, 4), (4, 4)]


def test_a_tabular_mlp_says_of_a_row_the_same_in_every_batch():
    torch.manual_seed(0)
    base = build_base({"kind": "tabular_mlp", "layers": 2, "width": 8, "dropout": 0.5}, 5)
    rows = torch.randn(6, 5)
    module = base.module.eval()
    assert module(rows).shape == (6, base.width)
    assert torch.allclose(module(rows)[2:3], module(rows[2:3]), atol=1e-6)
    assert not torch.equal(base.module.train()(rows), base.module(rows))  # dropout draws anew


def test_bases_read_sparse_rows_as_dense_ones():
    torch.manual_seed(0)
    rows = (torch.rand(5, 40) > 0.9).float()
    for kind in ("mlp", "tabular_mlp"):
        module = build_base({"kind": kind, "width": 8}, 40).module.eval()
        assert torch.allclose(module(rows.to_sparse_csr()), module(rows), atol=1e-6)


@pytest.mark.parametrize(
    ("spec", "wanted"),
    [
        ({"kind": "mpl"}, "base architecture: there is no kind 'mpl'; did you mean 'mlp'?"),
        ({"layers": 2}, "base architecture: there is no kind None; known: mlp, tabular_mlp"),
        (
            {"kind": "mlp", "layer": 2},
            "base architecture: mlp has no setting 'layer'; did you mean 'layers'?",
        ),
        (
            {"kind": "mlp", "layers": 0},
            "base architecture: layers is 0, and must be a whole number of at least 1",
        ),
        (
            {"kind": "mlp", "width": "wide"},
            "base architecture: width is 'wide', and must be a whole number of at least 1, or None",
        ),
        (
            {"kind": "tabular_mlp", "width": 0},
            "base architecture: width is 0, and must be a whole number of at least 1",
        ),
        (
            {"kind": "tabular_mlp", "dropout": 1},
            "base architecture: dropout is 1, and must be from 0 to below 1",
        ),
    ],
)
def test_specs_that_can_not_be(spec, wanted):
    assert message(ValueError, build_base, spec, 7) == wanted
