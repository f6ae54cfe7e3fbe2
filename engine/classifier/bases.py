"""Base architectures by name, so that a checkpoint can say in JSON what to rebuild."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from torch import nn

from engine.classifier.settings import BaseSpec, base_spec


@dataclass(frozen=True)
class Base:
    """A module and the width of what it gives.

    Parameters
    ----------
    module
        Takes [batch, input width], gives [batch, ``width``].
    width
        The ``head_dim`` of a ``SlicingClassifier`` on it.
    """

    module: nn.Module
    width: int


# (settings, width) -> what stands behind each linear layer.
BASES: Mapping[str, Callable[[Any, int], list[nn.Module]]] = {
    "mlp": lambda spec, width: [nn.ReLU()],
    "tabular_mlp": lambda spec, width: [nn.LayerNorm(width), nn.ReLU(), nn.Dropout(spec.dropout)],
}


def build_base(spec: BaseSpec | Mapping[str, Any], input_width: int) -> Base:
    """Build the base architecture that a spec describes.

    Parameters
    ----------
    spec
        The base's settings, or ``kind`` and some of them, as JSON has them.
    input_width
        Width of the features.

    Raises
    ------
    SettingError
        When the kind, a setting or its value is not known.

    Examples
    --------
    >>> build_base({"kind": "mlp", "layers": 2, "width": None}, 30).width
    30
    """
    settings = base_spec(spec)
    width = settings.width or input_width
    steps: list[nn.Module] = []
    for before in [input_width, *[width] * (settings.layers - 1)]:
        steps += [nn.Linear(before, width), *BASES[settings.kind](settings, width)]
    return Base(nn.Sequential(*steps), width)
