"""Base architectures by name, so that a checkpoint can say in JSON what to rebuild."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from torch import nn

from engine.classifier.settings import BaseSpec, MlpSpec, TabularMlpSpec, base_spec


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


def _mlp(spec: MlpSpec, input_width: int) -> Base:
    width = spec.width or input_width
    steps: list[nn.Module] = []
    for before in [input_width, *[width] * (spec.layers - 1)]:
        steps += [nn.Linear(before, width), nn.ReLU()]
    return Base(nn.Sequential(*steps), width)


def _tabular_mlp(spec: TabularMlpSpec, input_width: int) -> Base:
    steps: list[nn.Module] = []
    for before in [input_width, *[spec.width] * (spec.layers - 1)]:
        steps += [nn.Linear(before, spec.width), nn.LayerNorm(spec.width)]
        steps += [nn.ReLU(), nn.Dropout(spec.dropout)]
    return Base(nn.Sequential(*steps), spec.width)


BASES: Mapping[str, Callable[[Any, int], Base]] = {"mlp": _mlp, "tabular_mlp": _tabular_mlp}


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
    return BASES[settings.kind](settings, input_width)
