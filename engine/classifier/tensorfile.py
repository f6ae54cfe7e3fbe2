"""Tensors and facts in one safetensors file; nothing is pickled.

A file is complete or not there: it is written beside its place and renamed.
"""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor

from engine.errors import CheckpointError

FORMAT = 1

Tensors = Mapping[str, Tensor]


def write(file: Path, tensors: Tensors, facts: Mapping[str, Any]) -> None:
    """Write tensors and facts as one file, which replaces the one before at once."""
    file.parent.mkdir(parents=True, exist_ok=True)
    beside = file.with_name(f".{file.name}.{os.getpid()}")
    try:
        header = {"format": str(FORMAT), "facts": json.dumps(facts)}
        save_file(unshared(tensors), beside, header)
        with beside.open("rb") as written:
            os.fsync(written.fileno())
        beside.replace(file)
    finally:
        beside.unlink(missing_ok=True)


def read(file: Path) -> tuple[dict[str, Tensor], dict[str, Any]]:
    """Read what ``write`` wrote.

    Raises
    ------
    CheckpointError
        When the file is damaged.
        When it is of another format.
    """
    try:
        with safe_open(file, "pt") as opened:
            header = opened.metadata() or {}
            tensors = {name: opened.get_tensor(name) for name in opened.keys()}  # noqa: SIM118
    except SafetensorError as e:
        raise damaged(file.parent, f"{file.name} is damaged ({e})") from e
    if header.get("format") != str(FORMAT):
        raise other_format(file.parent, header.get("format"), FORMAT)
    try:
        return tensors, json.loads(header["facts"])
    except (KeyError, ValueError) as e:
        raise damaged(file.parent, f"{file.name} has no facts ({e!r})") from e


def other_format(path: object, stored: object, wanted: int) -> CheckpointError:
    """Return the error of a checkpoint that is of another format."""
    if isinstance(stored, int | str) and str(stored).isdigit() and int(stored) > wanted:
        return CheckpointError(
            f"the checkpoint at {str(path)!r} is of format {stored}, which a newer engine wrote, "
            f"and this engine reads format {wanted}: use that engine, or train it again with this "
            "one"
        )
    return CheckpointError(
        f"the checkpoint at {str(path)!r} is of format {stored!r}, and this engine reads "
        f"format {wanted}: train it again with this version"
    )


def damaged(path: object, problem: str) -> CheckpointError:
    """Return the error of a checkpoint that can't be read."""
    return CheckpointError(
        f"the checkpoint at {str(path)!r} can't be read: {problem}; copy it again, or train "
        "it again"
    )


def with_prefix(prefix: str, tensors: Tensors) -> dict[str, Tensor]:
    """Take the tensors whose names begin with a prefix, and cut it off."""
    start = f"{prefix}/"
    return {n.removeprefix(start): t for n, t in tensors.items() if n.startswith(start)}


def unshared(tensors: Tensors) -> dict[str, Tensor]:
    """Bring tensors to the host; of those that share memory, which safetensors refuses, copies."""
    pointers: set[int] = set()
    unshared = {}
    for name, tensor in tensors.items():
        values = tensor.detach().cpu().contiguous()
        if values.untyped_storage().data_ptr() in pointers and values.numel():
            values = values.clone()
        pointers.add(values.untyped_storage().data_ptr())
        unshared[name] = values
    return unshared
