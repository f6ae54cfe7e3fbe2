"""Slicing functions as people write them, in domains, each with a table of rows.

They are written without a look at what is lifted. Half of them, by a hash of their names, are for
work on the engine; the other half is only measured.
"""

from __future__ import annotations

import hashlib
import importlib
from collections.abc import Iterator
from dataclasses import dataclass

import pyarrow as pa

from engine import SlicingFunction
from tests.corpus.rows import made_of

DOMAINS = ("moderation", "reviews", "fraud", "quality", "logs", "shop", "churn", "sensors")
WORKED, UNSEEN = "worked", "unseen"


@dataclass(frozen=True)
class Domain:
    """The slicing functions of a module, and rows for them."""

    name: str
    sfs: tuple[SlicingFunction, ...]
    table: pa.Table


def domains() -> Iterator[Domain]:
    """Yield the domains."""
    for name in DOMAINS:
        module = importlib.import_module(f"tests.corpus.{name}")
        sfs = tuple(v for v in vars(module).values() if isinstance(v, SlicingFunction))
        yield Domain(name, sfs, made_of(module.SCHEMA, module.POOLS, module.ROWS))


def part(name: str) -> str:
    """Return the half that a function belongs to, by its name."""
    return (WORKED, UNSEEN)[hashlib.sha256(name.encode()).digest()[0] % 2]
