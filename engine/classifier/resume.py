"""Where training stands, in a file, so that a run that was killed goes on as if it had not been.

One safetensors file holds the weights, the optimizer's tensors and every random state; its header
holds the rest as JSON. Nothing is pickled. A file is complete or not there: it is written beside
its place and renamed.
"""

from __future__ import annotations

import json
import os
import random
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Generator, Tensor
from torch.optim import Optimizer

from engine.classifier.data.dataset import DictDataLoader, DictDataset, SliceLabels
from engine.classifier.data.sparse import SparseRows
from engine.errors import CheckpointCorruptError, CheckpointFormatError

FORMAT = 1
STATE = "training.safetensors"

Tensors = Mapping[str, Tensor]
RandomState = tuple[Tensors, Mapping[str, Any]]  # what is a tensor, and what JSON holds


def write(file: Path, tensors: Tensors, facts: Mapping[str, Any]) -> None:
    """Write tensors and facts as one file, which replaces the one before in one go."""
    file.parent.mkdir(parents=True, exist_ok=True)
    beside = file.with_name(f".{file.name}.{os.getpid()}")
    try:
        header = {"format": str(FORMAT), "facts": json.dumps(facts)}
        save_file(apart(tensors), beside, header)
        with beside.open("rb") as written:
            os.fsync(written.fileno())
        beside.replace(file)
    finally:
        beside.unlink(missing_ok=True)


def read(file: Path) -> tuple[dict[str, Tensor], dict[str, Any]]:
    """Read what ``write`` wrote.

    Raises
    ------
    CheckpointCorruptError
        When the file is damaged.
    CheckpointFormatError
        When it is of another format.
    """
    try:
        with safe_open(file, "pt") as opened:
            header = opened.metadata() or {}
            tensors = {name: opened.get_tensor(name) for name in opened.keys()}  # noqa: SIM118
    except SafetensorError as e:
        raise CheckpointCorruptError(file.parent, f"{file.name} is damaged ({e})") from e
    if header.get("format") != str(FORMAT):
        raise CheckpointFormatError(file.parent, header.get("format"), FORMAT)
    try:
        return tensors, json.loads(header["facts"])
    except (KeyError, ValueError) as e:
        raise CheckpointCorruptError(file.parent, f"{file.name} has no facts ({e!r})") from e


def under(prefix: str, tensors: Tensors) -> dict[str, Tensor]:
    """Take the tensors whose names begin with a prefix, without it."""
    start = f"{prefix}/"
    return {n.removeprefix(start): t for n, t in tensors.items() if n.startswith(start)}


def optimizer_tensors(optimizer: Optimizer) -> dict[str, Tensor]:
    """Name an optimizer's tensors, ``<parameter>/<what>``."""
    return {
        f"{parameter}/{what}": value
        for parameter, values in optimizer.state_dict()["state"].items()
        for what, value in values.items()
        if isinstance(value, Tensor)
    }


def restore_optimizer(optimizer: Optimizer, tensors: Tensors) -> None:
    """Put back what ``optimizer_tensors`` named."""
    state: dict[int, dict[str, Tensor]] = {}
    for name, tensor in tensors.items():
        parameter, what = name.split("/")
        state.setdefault(int(parameter), {})[what] = tensor
    groups = optimizer.state_dict()["param_groups"]
    optimizer.load_state_dict({"state": state, "param_groups": groups})


def random_state(loaders: Sequence[DictDataLoader]) -> RandomState:
    """Take every random state that training draws from."""
    tensors = {"torch": torch.get_rng_state()}
    if torch.cuda.is_available():
        states = torch.cuda.get_rng_state_all()
        tensors |= {f"cuda{i}": state for i, state in enumerate(states)}
    for i, generator in enumerate(_generators(loaders)):
        tensors[f"loader{i}"] = generator.get_state()
    name, keys, *rest = np.random.get_state()
    numbers = [name, np.asarray(keys).tolist(), *rest]
    return tensors, {"python": random.getstate(), "numpy": numbers}


def restore_random_state(
    loaders: Sequence[DictDataLoader], tensors: Tensors, facts: Mapping[str, Any]
) -> None:
    """Put back what ``random_state`` took."""
    torch.set_rng_state(tensors["torch"])
    if torch.cuda.is_available():
        for i in range(torch.cuda.device_count()):
            if f"cuda{i}" in tensors:
                torch.cuda.set_rng_state(tensors[f"cuda{i}"], i)
    for i, generator in enumerate(_generators(loaders)):
        generator.set_state(tensors[f"loader{i}"])
    version, internal, gauss = facts["python"]
    random.setstate((version, tuple(internal), gauss))
    name, keys, *rest = facts["numpy"]
    np.random.set_state((name, np.array(keys, np.uint32), *rest))


def fingerprint(dataset: DictDataset) -> str:
    """Hash a data set's fields, labels and masks."""
    import xxhash  # executors that score do without it

    digest = xxhash.xxh3_64()
    labels = dataset.Y_dict
    given = labels.given if isinstance(labels, SliceLabels) else labels
    values = [*dataset.X_dict.items(), *given.items()]
    if isinstance(labels, SliceLabels):
        values += [("masks", labels.masks), ("names", labels.names)]
    for name, value in values:
        if isinstance(value, SparseRows):
            values += [(f"{name}/{part}", tensor) for part, tensor in value.parts().items()]
            continue
        digest.update(name.encode())
        if isinstance(value, Tensor):
            digest.update(f"{value.dtype}{tuple(value.shape)}".encode())
            flat = value.detach().cpu().contiguous().flatten()
            digest.update(flat.view(torch.uint8).numpy().data)
        else:
            digest.update(repr(list(value)).encode())
    return digest.hexdigest()


def _generators(loaders: Iterable[DictDataLoader]) -> list[Generator]:
    """Find the generators that loaders and their samplers were given, each once."""
    found: dict[int, Generator] = {}
    for loader in loaders:
        for owner in (loader, loader.sampler, loader.batch_sampler):
            generator = getattr(owner, "generator", None)
            if isinstance(generator, Generator):
                found[id(generator)] = generator
    return list(found.values())


def apart(tensors: Tensors) -> dict[str, Tensor]:
    """Copy tensors that share memory, which safetensors does not store."""
    seen: set[int] = set()
    apart = {}
    for name, tensor in tensors.items():
        kept = tensor.detach().cpu().contiguous()
        if kept.untyped_storage().data_ptr() in seen and kept.numel():
            kept = kept.clone()
        seen.add(kept.untyped_storage().data_ptr())
        apart[name] = kept
    return apart
