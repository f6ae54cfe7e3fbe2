"""Checkpoints: weights as safetensors, everything else as JSON, nothing pickled.

A checkpoint is a folder that holds ``model.safetensors`` and ``checkpoint.json``, and with them
all that turns a text into class probabilities.
"""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from uuid import uuid4

import numpy as np
import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file

from engine.classifier.bases import build_base
from engine.classifier.features import BagOfWords
from engine.classifier.model import SlicingClassifier
from engine.errors import (
    CheckpointCorruptError,
    CheckpointFormatError,
    CheckpointMissingError,
    CheckpointTargetError,
    EngineError,
)

FORMAT = 1
WEIGHTS, FACTS = "model.safetensors", "checkpoint.json"

FEATURES = {"bag_of_words": BagOfWords}
_MODEL_SETTINGS = (
    "head_dim",
    "slice_names",
    "input_data_key",
    "task_name",
    "n_classes",
    "temperature",
)


@dataclass(frozen=True)
class Checkpoint:
    """A trained model with all that it takes to use it.

    Parameters
    ----------
    model
        The classifier, in evaluation mode.
    features
        What turns texts into the model's input.
    base
        The spec that ``build_base`` built the base from.
    classes
        The label that each of the model's classes stands for, in order.
    slices
        Slice id to the fingerprint of its source at training.
    facts
        Whatever else training wrote down: source version, metrics, settings.
    """

    model: SlicingClassifier
    features: BagOfWords
    base: Mapping[str, Any]
    classes: tuple[Any, ...]
    slices: Mapping[str, str]
    facts: Mapping[str, Any]

    def predict_proba(
        self, texts: Sequence[Any], batch_size: int = 1024
    ) -> np.ndarray[Any, np.dtype[np.float32]]:
        """Give each text's class probabilities, [n, classes], in the order of ``classes``.

        Parameters
        ----------
        texts
            Texts; null counts as empty.
        batch_size
            How many go through the model at once.
        """
        key = self.model.input_data_key
        parts = [np.empty((0, len(self.classes)), np.float32)]
        for start in range(0, len(texts), batch_size):
            inputs = self.features.transform(texts[start : start + batch_size])
            parts.append(self.model.predict_proba({key: inputs}))
        return np.concatenate(parts)


def save(
    path: str | os.PathLike[str],
    model: SlicingClassifier,
    *,
    features: BagOfWords,
    base: Mapping[str, Any],
    classes: Sequence[Any],
    slices: Mapping[str, str],
    facts: Mapping[str, Any],
) -> None:
    """Write a checkpoint; one that is there is replaced once the new one is complete.

    Parameters
    ----------
    path
        The folder to write.
    model, features, base, classes, slices, facts
        See ``Checkpoint``; all but the model must be what JSON can hold.

    Raises
    ------
    CheckpointTargetError
        When the path holds something else than a checkpoint.
    """
    target = Path(path)
    if target.exists() and not (target / FACTS).exists():
        raise CheckpointTargetError(target)
    kind = next(name for name, cls in FEATURES.items() if isinstance(features, cls))
    described = {
        "format": FORMAT,
        "model": {name: getattr(model, name) for name in _MODEL_SETTINGS},
        "base": dict(base),
        "features": {"kind": kind, **features.to_json()},
        "classes": list(classes),
        "slices": dict(slices),
        "facts": dict(facts),
    }
    fresh, aside = (target.parent / f".{target.name}.{uuid4().hex}" for _ in range(2))
    fresh.mkdir(parents=True)
    try:
        weights = {name: tensor.cpu().contiguous() for name, tensor in model.state_dict().items()}
        save_file(weights, fresh / WEIGHTS)
        (fresh / FACTS).write_text(json.dumps(described, indent=1), encoding="utf-8")
        if target.exists():
            target.rename(aside)
        fresh.rename(target)
    except BaseException:
        if aside.exists():
            aside.rename(target)
        shutil.rmtree(fresh, ignore_errors=True)
        raise
    shutil.rmtree(aside, ignore_errors=True)


def load(path: str | os.PathLike[str]) -> Checkpoint:
    """Read a checkpoint and rebuild its model.

    Raises
    ------
    CheckpointMissingError
        When the folder or one of its files is not there.
    CheckpointFormatError
        When it is of another format.
    CheckpointCorruptError
        When a file is truncated or the two don't fit each other.
    """
    folder = Path(path)
    for name in (FACTS, WEIGHTS):
        if not (folder / name).is_file():
            raise CheckpointMissingError(folder, name)
    try:
        described = json.loads((folder / FACTS).read_text(encoding="utf-8"))
    except ValueError as e:
        raise CheckpointCorruptError(folder, f"{FACTS} is not JSON ({e})") from e
    found = described.get("format") if isinstance(described, dict) else None
    if found != FORMAT:
        raise CheckpointFormatError(folder, found, FORMAT)
    try:
        return _rebuild(described, folder / WEIGHTS)
    except SafetensorError as e:
        raise CheckpointCorruptError(folder, f"{WEIGHTS} is damaged ({e})") from e
    except (KeyError, TypeError, EngineError) as e:
        raise CheckpointCorruptError(folder, f"{FACTS} is incomplete ({e!r})") from e
    except RuntimeError as e:
        raise CheckpointCorruptError(folder, f"{WEIGHTS} does not fit {FACTS}") from e


def _rebuild(described: Mapping[str, Any], weights: Path) -> Checkpoint:
    spec = described["features"]
    features = FEATURES[spec["kind"]].from_json(spec)
    # On the meta device weights are neither allocated nor drawn before the file's take over.
    with torch.device("meta"):
        base = build_base(described["base"], features.width)
        settings = described["model"]
        model = SlicingClassifier(
            base.module, **{name: settings[name] for name in _MODEL_SETTINGS}, device="meta"
        )
    model.load_state_dict(load_file(weights), assign=True)
    return Checkpoint(
        model=model.eval(),
        features=features,
        base=described["base"],
        classes=tuple(described["classes"]),
        slices=described["slices"],
        facts=described["facts"],
    )


def stored_facts(path: str | os.PathLike[str]) -> Mapping[str, Any]:
    """Return the facts of a checkpoint without loading its weights; empty where there is none."""
    file = Path(path) / FACTS
    if not file.is_file():
        return {}
    try:
        described = json.loads(file.read_text(encoding="utf-8"))
    except ValueError:
        return {}
    return described.get("facts", {}) if isinstance(described, dict) else {}
