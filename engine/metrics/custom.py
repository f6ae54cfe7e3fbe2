"""Metrics of the user's own: a function of arrays, or a state that merges.

A metric with a state is part of the one scan. A plain function needs all rows of a slice at once,
so each row travels once for each slice that it is in; it is for what no state can be found for.
"""

from __future__ import annotations

import functools
import io
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from decimal import Decimal
from numbers import Real
from pathlib import Path
from typing import Any, overload

import numpy as np

from engine.errors import MetricError, shown, text_of
from engine.metrics.formulas.outputs import Outputs
from engine.slicing.discovery import load_module
from engine.slicing.fingerprint.identity import UNKNOWN, Described, described

_FAILED = b"failed: "  # a state's bytes begin otherwise
RAISED = (Exception, SystemExit, GeneratorExit)  # what a metric of the user's own may end in
_MOST_SAID = 300
NEEDS = ("pred", "prob", "numbers")
BETTER = ("high", "low", "")
Arrays = tuple[np.ndarray, np.ndarray, np.ndarray | None, np.ndarray | None]


@dataclass(frozen=True, repr=False)
class CustomMetric:
    """A metric of the user's own; make one with :func:`metric`.

    Attributes
    ----------
    name
        Its name in figures.
    function
        Figure of ``(y_true, y_pred, y_prob, weight)``; None for a metric with a state.
    state, merge, compute
        State of some rows, of two states, and the figure; None for a function.
    needs
        ``pred`` (labels and predictions are class values), ``prob`` (rows have probabilities
        too), ``numbers`` (labels and predictions are numbers).
    better
        ``high``, ``low``, or nothing.
    """

    name: str
    function: Callable[..., Any] | None = None
    state: Callable[..., Any] | None = None
    merge: Callable[[Any, Any], Any] | None = None
    compute: Callable[[Any], Any] | None = None
    needs: str = "pred"
    better: str = "high"

    @property
    def fingerprint(self) -> str:
        """16 hex digits that change when what computes it does, as a slice's fingerprint."""
        about = self._described()
        return about.digest[:16] + (UNKNOWN if about.unknown else "")

    @property
    def unknowns(self) -> tuple[str, ...]:
        """What it uses that can't be described, a clause each."""
        return self._described().unknown

    def _described(self) -> Described:
        functions = [self.function, self.state, self.merge, self.compute]
        return described([*functions, self.needs], [f for f in functions if f is not None])

    def __repr__(self) -> str:
        return f"the metric {self.name!r}"

    def __call__(self, *arrays: Any) -> float:
        """Compute the figure of arrays: ``(y_true, y_pred, y_prob=None, weight=None)``."""
        inputs = [*arrays, None, None][:4]
        if self.function is not None:
            return figure_of(self.function(*inputs))
        assert self.state is not None
        return self.figure([self.packed(np.asarray(self.state(*inputs)))])

    def scored(self, of: Outputs) -> np.ndarray:
        """Tell which rows it is computed from, ``[n]``."""
        if self.needs == "numbers":
            return np.asarray(~np.isnan(of.numbers).any(axis=0))
        scored = (of.label >= 0) & (of.pred >= 0)
        return np.asarray(scored & of.probable if self.needs == "prob" else scored)

    def arrays_of(self, of: Outputs) -> Arrays:
        """Return what its functions are given of rows."""
        prob = None if of.prob is None else of.probabilities
        if self.needs == "numbers":
            return *of.numbers, prob, of.weight
        values = np.array(of.classes.values)
        return values[of.label], values[of.pred], prob, of.weight

    def state_of(self, of: Outputs) -> np.ndarray:
        """Return the state of rows."""
        assert self.state is not None
        return np.asarray(self.state(*self.arrays_of(of)))

    def merged(self, a: np.ndarray, b: np.ndarray) -> np.ndarray:
        """Return the state of both."""
        assert self.merge is not None
        return np.asarray(self.merge(a, b))

    @staticmethod
    def packed(state: np.ndarray) -> bytes:
        """Return a state as bytes.

        Raises
        ------
        TypeError
            If it isn't made of numbers, as None isn't.
        """
        if state.dtype.hasobject:
            value = shown(state.item() if state.ndim == 0 else state)
            raise TypeError(f"its state must be an array of numbers, found {value}")
        to = io.BytesIO()
        np.save(to, state, allow_pickle=False)
        return to.getvalue()

    def figure(self, parts: Sequence[bytes]) -> float:
        """Return the figure of the states of several tasks, in an order none of them decides."""
        assert self.compute is not None
        states = (np.load(io.BytesIO(p), allow_pickle=False) for p in sorted(parts))
        return figure_of(self.compute(functools.reduce(self.merged, states)))


def figure_of(value: Any) -> float:
    """Return the number that a metric of the user's own gave; NaN where it has none to give.

    Raises
    ------
    TypeError
        If it is no number.

    Examples
    --------
    >>> figure_of(np.float32(0.5)), figure_of(np.array(2)), figure_of(float("inf"))
    (0.5, 2.0, nan)
    """
    one = value.item() if isinstance(value, np.ndarray | np.generic) and value.ndim == 0 else value
    if not isinstance(one, Real | Decimal):
        raise TypeError(f"it must return a number, found {shown(value)}")
    return float(one) if math.isfinite(one) else math.nan


def problem(error: BaseException) -> str:
    """Say in a line what went wrong in a metric of the user's own.

    Examples
    --------
    >>> problem(ZeroDivisionError("division by zero"))
    'ZeroDivisionError: division by zero'
    """
    message = " ".join(text_of(error).encode("utf-8", "backslashreplace").decode().split())
    text = f"{type(error).__name__}: {message}" if message else type(error).__name__
    return text if len(text) <= _MOST_SAID else f"{text[: _MOST_SAID - 3]}..."


def failure(error: BaseException) -> bytes:
    """Return what went wrong as a task sends it in place of a state."""
    return _FAILED + problem(error).encode()


def failed(parts: Sequence[bytes]) -> str | None:
    """Return what went wrong in some task; None where nothing did.

    Examples
    --------
    >>> failed([CustomMetric.packed(np.array([1])), failure(ValueError("no"))])
    'ValueError: no'
    """
    problems = [p.removeprefix(_FAILED).decode() for p in parts if p.startswith(_FAILED)]
    return min(problems, default=None)


@overload
def metric(of: Callable[..., Any] | type, /) -> CustomMetric: ...
@overload
def metric(
    *, name: str | None = None, needs: str = "pred", better: str = "high"
) -> Callable[[Callable[..., Any] | type], CustomMetric]: ...


def metric(
    of: Callable[..., Any] | type | None = None,
    /,
    *,
    name: str | None = None,
    needs: str = "pred",
    better: str = "high",
) -> CustomMetric | Callable[[Callable[..., Any] | type], CustomMetric]:
    """Make a metric of a function, or of a class with ``state``, ``merge`` and ``compute``.

    Parameters
    ----------
    of
        A function of ``(y_true, y_pred, y_prob, weight)`` that returns a number; or a class whose
        static methods are ``state(y_true, y_pred, y_prob, weight)``, an array, ``merge(a, b)``,
        the state of both, and ``compute(state)``, a number. ``y_prob`` is ``[n, C]``, None unless
        it is needed; ``weight`` is ``[n]``, None without weights.
    name
        The metric's name; the function's or class's unless given.
    needs
        ``pred``: labels and predictions are class values; ``prob``: rows have probabilities too;
        ``numbers``: labels and predictions are numbers.
    better
        ``high``, ``low``, or nothing where neither is better.

    Raises
    ------
    MetricError
        If it is neither, or ``needs`` or ``better`` is none of those.

    Examples
    --------
    >>> @metric(better="low")
    ... class cost:
    ...     def state(y_true, y_pred, y_prob, weight):
    ...         missed, wrong = (y_true > y_pred).sum(), (y_true < y_pred).sum()
    ...         return np.array([5 * missed + wrong, len(y_true)])
    ...     def merge(a, b):
    ...         return a + b
    ...     def compute(state):
    ...         return state[0] / state[1]
    >>> cost(np.array([1, 0, 1, 0]), np.array([0, 1, 1, 0]))
    1.5
    """
    if of is not None:
        return _metric_of(of, name, needs, better)
    _check("metric" if name is None else name, needs, better)
    return lambda one: _metric_of(one, name, needs, better)


def _metric_of(
    of: Callable[..., Any] | type, name: str | None, needs: str, better: str
) -> CustomMetric:
    if not callable(of):
        raise no_metric(str(name or shown(of)), f"it is made of {shown(of)}")
    _check("metric" if name is None else name, needs, better)
    called = name or str(getattr(of, "__name__", ""))
    if not called.isidentifier():
        raise no_metric(called, "its name is no Python name; give name=")
    if not isinstance(of, type):
        return CustomMetric(called, function=of, needs=needs, better=better)
    parts = {part: getattr(of, part, None) for part in ("state", "merge", "compute")}
    for part, function in parts.items():
        if not callable(function):
            raise no_metric(called, f"the class has no function {part!r}")
    return CustomMetric(called, needs=needs, better=better, **parts)


def no_metric(name: str, problem: str) -> MetricError:
    """Return the error of a metric of the user's own that is not what one is made of."""
    return MetricError(
        f"metric {name!r}: {problem}; @metric takes a function of (y_true, y_pred, y_prob, "
        "weight), or a class with state, merge and compute"
    )


def _check(name: Any, needs: Any, better: Any) -> None:
    if not isinstance(name, str):
        raise no_metric(shown(name), "its name must be a text")
    if not isinstance(needs, str) or needs not in NEEDS:
        raise no_metric(name, f"needs={shown(needs)} is none of {', '.join(NEEDS)}")
    if not isinstance(better, str) or better not in BETTER:
        raise no_metric(name, f"better={shown(better)} is none of 'high', 'low', ''")


def custom_metrics(module: str, folders: Sequence[Path] = ()) -> list[CustomMetric]:
    """Import a module and return the metrics in it, in the order they are defined.

    Parameters
    ----------
    module
        A dotted name or the path of a ``.py`` file.
    folders
        Where to look, besides ``sys.path``.

    Raises
    ------
    InputError
        If it can't be imported.
    """
    values = vars(load_module(module, folders)).values()
    return list(dict.fromkeys(v for v in values if isinstance(v, CustomMetric)))
