"""Where training stands, in a file, so that a run that was killed goes on as if it had not been.

One file holds the weights, the optimizer's tensors and every random state; its header holds the
rest as JSON.
"""

from __future__ import annotations

import json
import math
import random
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, cast

import numpy as np
import torch
import xxhash
from torch import Generator, Tensor
from torch.optim import Optimizer

from engine.classifier.data.dataset import DictDataLoader, DictDataset, SparseRows
from engine.classifier.data.labels import SliceLabels, own_labels
from engine.classifier.model import SlicingClassifier
from engine.classifier.monitor import EpochLog, Monitor
from engine.classifier.settings import WEIGHING, TrainerConfig
from engine.classifier.tensorfile import Tensors, read, with_prefix, write
from engine.errors import CheckpointError, listed

STATE = "training.safetensors"

RandomState = tuple[Tensors, Mapping[str, Any]]  # what is a tensor, and what JSON holds

_STANDING = ("epoch", "step", "updates", "best_epoch", "best_value", "done")

# Settings that may differ between a run that was killed and the one that goes on with it.
_CHANGEABLE = ("progress_bar", "log", "folder", "resume", "tensorboard", "device", "threads")


@dataclass
class Standing:
    """How far training has come.

    Parameters
    ----------
    random
        The random states to begin with, or to continue with.
    epoch, step, updates
        Epochs, steps, and steps that moved weights.
    best_epoch, best_value
        The epoch at which the monitor was best, 0 before there is one, and its value.
    done
        Whether training is over.
    history
        The epochs.
    best_weights
        The weights after the best epoch.
    """

    random: RandomState
    epoch: int = 0
    step: int = 0
    updates: int = 0
    best_epoch: int = 0
    best_value: float = -math.inf
    done: bool = False
    history: list[EpochLog] = field(default_factory=list)
    best_weights: Tensors = field(default_factory=dict)

    def add(self, log: EpochLog, model: SlicingClassifier, monitor: Monitor | None) -> None:
        """Add an epoch, and copy the model's weights if the monitor was never better."""
        self.history.append(log)
        self.epoch = log.epoch
        best = self.best_value if self.best_epoch else None
        if monitor is not None and log.monitored is not None and monitor.beats(log.monitored, best):
            self.best_epoch, self.best_value = log.epoch, log.monitored
            self.best_weights = {
                name: weight.detach().cpu().clone() for name, weight in model.state_dict().items()
            }


def setup_of(
    config: TrainerConfig,
    model: SlicingClassifier,
    train: Sequence[DictDataLoader],
    valid: Sequence[DictDataLoader],
) -> dict[str, Any]:
    """Describe what must be the same for two runs to be one, as JSON gives it back."""
    setup = {
        **{name: value for name, value in asdict(config).items() if name not in _CHANGEABLE},
        **{name: getattr(model, name) for name in WEIGHING},
        "slices": model.head_names,
        "trained": [name for name, p in model.named_parameters() if p.requires_grad],
        "weights": {name: list(w.shape) for name, w in model.state_dict().items()},
        "training rows": [fingerprint(d.dataset) for d in train],
        "validation rows": [fingerprint(d.dataset) for d in valid],
        "batches": [len(d) for d in train],
    }
    return cast("dict[str, Any]", json.loads(json.dumps(setup)))


def restore(
    folder: Path, setup: Mapping[str, Any], model: SlicingClassifier, optimizer: Optimizer
) -> Standing | None:
    """Put a model and its optimizer back to where the state in a folder is, if there is one.

    Raises
    ------
    CheckpointError
        When the state is another training's.
    """
    if not (folder / STATE).exists():
        return None
    tensors, facts = read(folder / STATE)
    then = facts["setup"]
    long = {"weights", "trained", "training rows", "validation rows", "slices", "batches"}
    differ = [
        key if key in long else f"{key} was {then.get(key)!r} and is {value!r}"
        for key, value in setup.items()
        if then.get(key) != value
    ]
    if differ:
        raise CheckpointError(
            f"{str(folder)!r} holds the state of another training, so it can't be gone on with: "
            f"these differ: {listed(differ, 5)}; give another folder, remove it, or set "
            "resume=False"
        )
    model.load_state_dict(with_prefix("model", tensors))
    restore_optimizer(optimizer, with_prefix("optimizer", tensors))
    standing = Standing(
        **facts["standing"],
        random=(with_prefix("random", tensors), facts["random"]),
        history=[EpochLog(**epoch) for epoch in facts["history"]],
    )
    if standing.best_epoch:
        standing.best_weights, _ = read(_best(folder, standing.best_epoch))
    return standing


def save(
    folder: Path,
    standing: Standing,
    setup: Mapping[str, Any],
    model: SlicingClassifier,
    optimizer: Optimizer,
    train: Sequence[DictDataLoader],
) -> None:
    """Write where training stands; the best weights first, since the state names their file."""
    best = _best(folder, standing.best_epoch)
    if standing.best_epoch == standing.epoch:
        write(best, standing.best_weights, {"epoch": standing.epoch})
    random_tensors, random_facts = random_state(train)
    parts: dict[str, Tensors] = {
        "model": model.state_dict(),
        "optimizer": optimizer_tensors(optimizer),
        "random": random_tensors,
    }
    named = {f"{part}/{n}": tensor for part, of in parts.items() for n, tensor in of.items()}
    facts = {
        "setup": setup,
        "random": random_facts,
        "history": [asdict(epoch) for epoch in standing.history],
        "standing": {name: getattr(standing, name) for name in _STANDING},
    }
    write(folder / STATE, named, facts)
    for old in folder.glob("best-*.safetensors"):
        if old != best:
            old.unlink()


def _best(folder: Path, epoch: int) -> Path:
    return folder / f"best-{epoch:06d}.safetensors"


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
    optimizer.load_state_dict({**optimizer.state_dict(), "state": state})


def random_state(loaders: Sequence[DictDataLoader]) -> RandomState:
    """Take every random state that training draws from."""
    tensors = {"torch": torch.get_rng_state()}
    if torch.cuda.is_available():
        tensors |= {f"cuda{i}": state for i, state in enumerate(torch.cuda.get_rng_state_all())}
    tensors |= {f"loader{i}": g.get_state() for i, g in enumerate(_generators(loaders))}
    name, keys, *rest = np.random.get_state()
    facts = {"python": random.getstate(), "numpy": [name, np.asarray(keys).tolist(), *rest]}
    return tensors, facts


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
    digest = xxhash.xxh3_64()
    labels = dataset.Y_dict
    values = [*dataset.X_dict.items(), *own_labels(labels).items()]
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
    """List the generators of loaders and their samplers, each once."""
    owners = (o for loader in loaders for o in (loader, loader.sampler, loader.batch_sampler))
    generators = (getattr(owner, "generator", None) for owner in owners)
    return list({id(g): g for g in generators if isinstance(g, Generator)}.values())
