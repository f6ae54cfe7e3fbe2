"""The slice engine: label, measure and improve the slices of a data set.

Every public name is here and nothing else. Names are loaded when first used, so that importing
the package loads neither torch nor pyspark nor a JVM, and an executor needs numpy, pandas and
pyarrow alone.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from engine.classifier.data.dataset import DictDataLoader as DictDataLoader
    from engine.classifier.data.dataset import DictDataset as DictDataset
    from engine.classifier.model import SliceAwareClassifier as SliceAwareClassifier
    from engine.classifier.model import SlicingClassifier as SlicingClassifier
    from engine.classifier.train import Trainer as Trainer
    from engine.classifier.train import set_seed as set_seed
    from engine.errors import EngineError as EngineError
    from engine.label.appliers import PandasSFApplier as PandasSFApplier
    from engine.label.appliers import SFApplier as SFApplier
    from engine.label.appliers import SparkSFApplier as SparkSFApplier
    from engine.label.appliers import slice_dataframe as slice_dataframe
    from engine.label.plan import MaskPlan as MaskPlan
    from engine.label.plan import compile_slices as compile_slices
    from engine.label.profile import SliceTime as SliceTime
    from engine.label.profile import profile as profile
    from engine.masks.overlap import overlap as overlap
    from engine.masks.pairs import Overlap as Overlap
    from engine.metrics.custom import metric as metric
    from engine.metrics.evaluation import Evaluation as Evaluation
    from engine.metrics.evaluation import evaluate as evaluate
    from engine.metrics.explore.findings import Findings as Findings
    from engine.metrics.explore.findings import findings as findings
    from engine.metrics.explore.signatures import Signatures as Signatures
    from engine.metrics.explore.signatures import signatures as signatures
    from engine.metrics.explore.trend import trend as trend
    from engine.metrics.inference.uncertainty import Confidence as Confidence
    from engine.metrics.scorer import Scorer as Scorer
    from engine.metrics.scorer import preds_to_probs as preds_to_probs
    from engine.metrics.scorer import probs_to_preds as probs_to_preds
    from engine.slicing.by_value import by as by
    from engine.slicing.by_value import cross as cross
    from engine.slicing.functions import Preprocessor as Preprocessor
    from engine.slicing.functions import SlicingFunction as SlicingFunction
    from engine.slicing.functions import preprocessor as preprocessor
    from engine.slicing.functions import slicing_function as slicing_function
    from engine.slicing.functions import where as where
    from engine.slicing.lookups import lookup as lookup
    from engine.slicing.nlp import NLPSlicingFunction as NLPSlicingFunction
    from engine.slicing.nlp import SpacyPreprocessor as SpacyPreprocessor
    from engine.slicing.nlp import nlp_slicing_function as nlp_slicing_function
    from engine.storage.session import open_session as open_session

__version__ = "0.1.0"

_ROOMS = {
    "classifier.data.dataset": ("DictDataLoader", "DictDataset"),
    "classifier.model": ("SliceAwareClassifier", "SlicingClassifier"),
    "classifier.train": ("Trainer", "set_seed"),
    "label.plan": ("MaskPlan", "compile_slices"),
    "label.profile": ("SliceTime", "profile"),
    "errors": ("EngineError",),
    "label.appliers": ("PandasSFApplier", "SFApplier", "SparkSFApplier", "slice_dataframe"),
    "masks.overlap": ("overlap",),
    "masks.pairs": ("Overlap",),
    "metrics.custom": ("metric",),
    "metrics.evaluation": ("Evaluation", "evaluate"),
    "metrics.scorer": ("Scorer", "preds_to_probs", "probs_to_preds"),
    "metrics.explore.findings": ("Findings", "findings"),
    "metrics.explore.signatures": ("Signatures", "signatures"),
    "metrics.explore.trend": ("trend",),
    "metrics.inference.uncertainty": ("Confidence",),
    "storage.session": ("open_session",),
    "slicing.functions": (
        "Preprocessor",
        "SlicingFunction",
        "preprocessor",
        "slicing_function",
        "where",
    ),
    "slicing.lookups": ("lookup",),
    "slicing.by_value": ("by", "cross"),
    "slicing.nlp": ("NLPSlicingFunction", "SpacyPreprocessor", "nlp_slicing_function"),
}
_ROOM_OF = {name: room for room, names in _ROOMS.items() for name in names}

__all__ = sorted(_ROOM_OF)  # noqa: PLE0605 - it is the table above


def __getattr__(name: str) -> Any:
    if name not in _ROOM_OF:
        raise AttributeError(f"module 'engine' has no attribute {name!r}")
    value = getattr(import_module(f"engine.{_ROOM_OF[name]}"), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return [*globals(), *__all__]
