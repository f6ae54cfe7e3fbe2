"""Several processes that train one model, each on its share of every batch.

pyspark's ``TorchDistributor`` starts the processes and runs ``train_together`` in each; what is
here knows torch alone. The task losses' denominators are summed over the processes before
dividing, and gradients are summed, so that the processes take the step that one process would
take on the whole batch. (A base with batch normalisation sees its share only, and dropout draws
other units.)
"""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
import torch.distributed as dist

from engine.classifier.data.dataset import DictDataLoader
from engine.classifier.model import SlicingClassifier
from engine.classifier.monitor import EpochLog, SliceRows
from engine.classifier.train import Trainer


@dataclass(frozen=True)
class Trained:
    """The result of training in processes.

    Parameters
    ----------
    weights
        The model's ``state_dict`` as arrays.
    history
        The trainer's.
    best_epoch
        The trainer's: the epoch whose weights these are, None without a monitor.
    slices
        The trainer's: each slice's rows and status.
    """

    weights: dict[str, np.ndarray[Any, Any]]
    history: list[EpochLog]
    best_epoch: int | None
    slices: list[SliceRows]

    def into(self, model: SlicingClassifier) -> None:
        """Put the weights into a model of the same architecture."""
        model.load_state_dict({name: torch.from_numpy(w) for name, w in self.weights.items()})


Make = Callable[[], tuple[SlicingClassifier, Sequence[DictDataLoader], Trainer]]


def train_together(make: Make) -> Trained:
    """Train in the processes that torchrun or ``TorchDistributor`` started.

    A job runs ``TorchDistributor(num_processes=2, local_mode=True, use_gpu=False)
    .run(train_together, make)`` and gets what the first process returns.

    Parameters
    ----------
    make
        Gives the model, the loaders and the trainer; called in each process, it must give the
        same ones in all of them. Batch sizes are those of the whole batch. It is pickled, so it
        should read its rows from files.

    Returns
    -------
    Trained
        The trained weights and the history of epochs.
    """
    model, loaders, trainer = make()
    gpu = trainer.config.device != "cpu" and torch.cuda.is_available()
    if gpu:
        device = torch.device("cuda", int(os.environ["LOCAL_RANK"]) % torch.cuda.device_count())
        torch.cuda.set_device(device)
        model.to(device)
    # nccl refuses two processes on one GPU, which then share it by way of gloo.
    alone = int(os.environ.get("LOCAL_WORLD_SIZE", "1")) <= torch.cuda.device_count()
    dist.init_process_group("nccl" if gpu and alone else "gloo")
    try:
        trainer.fit(model, loaders)
    finally:
        dist.destroy_process_group()
    weights = {name: tensor.cpu().numpy() for name, tensor in model.state_dict().items()}
    return Trained(weights, trainer.history, trainer.best_epoch, trainer.slices)
