"""Base architectures by name, so that a checkpoint can say in JSON what to rebuild."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

from torch import nn

from engine.classifier import settings
from engine.errors import BaseSpecError


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


@dataclass(frozen=True)
class Mlp:
    """Linear layers, each followed by a ReLU.

    Parameters
    ----------
    layers
        How many, at least 1.
    width
        Width of each; None takes the input's.

    Examples
    --------
    >>> len(Mlp(layers=2, width=8).build(30).module)
    4
    """

    layers: int = 2
    width: int | None = None

    def __post_init__(self) -> None:
        settings.check_spec({"kind": "mlp", **asdict(self)}, settings.BASES, BaseSpecError)

    def build(self, input_width: int) -> Base:
        """Make the module for an input of some width."""
        width = self.width or input_width
        steps: list[nn.Module] = []
        for before in [input_width, *[width] * (self.layers - 1)]:
            steps += [nn.Linear(before, width), nn.ReLU()]
        return Base(nn.Sequential(*steps), width)


@dataclass(frozen=True)
class TabularMlp:
    """Linear layers, each followed by layer normalisation, a ReLU and dropout.

    Normalising keeps rare one-hot features and wide numbers on one scale; it works row by row, so
    that a row's prediction doesn't depend on its batch.

    Parameters
    ----------
    layers
        How many, at least 1.
    width
        Width of each.
    dropout
        Share of each layer's outputs that training drops.

    Examples
    --------
    >>> TabularMlp(layers=2, width=16).build(30).width
    16
    """

    layers: int = 2
    width: int = 64
    dropout: float = 0.1

    def __post_init__(self) -> None:
        settings.check_spec({"kind": "tabular_mlp", **asdict(self)}, settings.BASES, BaseSpecError)

    def build(self, input_width: int) -> Base:
        """Make the module for an input of some width."""
        steps: list[nn.Module] = []
        for before in [input_width, *[self.width] * (self.layers - 1)]:
            steps += [nn.Linear(before, self.width), nn.LayerNorm(self.width)]
            steps += [nn.ReLU(), nn.Dropout(self.dropout)]
        return Base(nn.Sequential(*steps), self.width)


BASES: Mapping[str, type[Mlp | TabularMlp]] = {"mlp": Mlp, "tabular_mlp": TabularMlp}


def build_base(spec: Mapping[str, Any], input_width: int) -> Base:
    """Build the base architecture that a spec describes.

    Parameters
    ----------
    spec
        ``kind`` and that kind's settings, as JSON has them.
    input_width
        Width of the features.

    Raises
    ------
    BaseSpecError
        When the kind, a setting or its value is not known.

    Examples
    --------
    >>> build_base({"kind": "mlp", "layers": 2, "width": None}, 30).width
    30
    """
    given = settings.check_spec(spec, settings.BASES, BaseSpecError)
    return BASES[spec["kind"]](**given).build(input_width)
