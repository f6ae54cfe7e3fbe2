"""Slicing functions over texts that spaCy parses, by Snorkel's names.

A batch of rows goes through ``nlp.pipe`` at once, and each distinct text of it once.
"""

from __future__ import annotations

import weakref
from collections.abc import Callable, Hashable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from engine.arguments import flag, text, texts
from engine.errors import ArgumentError
from engine.slicing.fingerprint.identity import describe
from engine.slicing.functions import (
    Preprocessor,
    SlicingFunction,
    preprocessor_parts,
    slice_parts,
    slicing_function,
)
from engine.slicing.pipelines import Pipeline, check_there

if TYPE_CHECKING:
    from spacy.language import Language

EN_CORE_WEB_SM = "en_core_web_sm"
_DOCS = 10_000  # documents that a memoized preprocessor remembers: they are large


@dataclass(frozen=True)
class _Parser:
    """Sets a field of a batch to the parsed texts of another."""

    text_field: str
    doc_field: str
    pipeline: Pipeline

    def __call__(self, xs: Any) -> Any:
        xs[self.doc_field] = self.pipeline.docs(xs[self.text_field])
        return xs


class SpacyPreprocessor(Preprocessor):
    """A preprocessor that adds a text as spaCy parses it, a ``Doc``.

    A batch's texts go through ``nlp.pipe`` together. The pipeline is loaded once in each Python
    worker that runs it. A row whose text is null is undecided, and isn't parsed.

    Parameters
    ----------
    text_field
        The field that has the text.
    doc_field
        The field that gets the ``Doc``.
    language
        The name of an installed pipeline, its folder, ``blank:en`` for a tokenizer alone, or a
        pipeline (``spacy.Language``) itself, which is sent to executors as it is.
    disable
        Names of the pipeline's components that aren't run.
    pre
        Preprocessors to run before this one.
    memoize
        Parse each distinct text once (the last 10,000 of a Python worker are remembered).
    memoize_key
        A function of the row giving a hashable key; by default the text.
    gpu
        Run on a GPU where there is one.
    version
        What its author changes with it, see :class:`SlicingFunction`.

    Raises
    ------
    SliceError
        If spaCy or the pipeline isn't installed here.
    """

    memo_size = _DOCS

    def __init__(
        self,
        text_field: str,
        doc_field: str,
        language: str | Path | Language = EN_CORE_WEB_SM,
        disable: Sequence[str] | None = None,
        pre: Sequence[Preprocessor] | None = None,
        memoize: bool = False,
        memoize_key: Callable[[Any], Hashable] | None = None,
        gpu: bool = False,
        *,
        version: str | int | None = None,
    ) -> None:
        call = type(self).__name__
        parser = _Parser(
            text(call, "text_field", text_field),
            text(call, "doc_field", doc_field),
            _pipeline(call, language, disable, gpu),
        )
        super().__init__(call, parser, pre, memoize, memoize_key, batch=True, version=version)
        self.fields = frozenset({text_field}), frozenset({doc_field})


def _pipeline(call: str, language: Any, disable: Any, gpu: Any) -> Pipeline:
    names = tuple(texts(call, "disable", disable, "a list of components")) if disable else ()
    gpu = flag(call, "gpu", gpu)
    if isinstance(language, str | Path):
        name = text(call, "language", str(language))
        check_there(call, name)
        return Pipeline(name, names, gpu)
    if not (hasattr(language, "pipe") and hasattr(language, "vocab")):
        wanted = "a pipeline's name, its folder or a pipeline of spaCy"
        raise ArgumentError(call, "language", wanted, language)
    return Pipeline(language, names, gpu)


class NLPSlicingFunction(SlicingFunction):
    """A slicing function over ``x.doc``, a text as spaCy parses it.

    Those with the same parameters share one :class:`SpacyPreprocessor`: each text is parsed once
    for all of them.

    Parameters
    ----------
    name, f, resources
        As of :class:`SlicingFunction`.
    pre
        Preprocessors to run before the text is parsed.
    text_field, doc_field, language, disable, memoize, memoize_key, gpu
        As of :class:`SpacyPreprocessor`.
    id, description, pure, version
        As of :class:`SlicingFunction`.
    """

    def __init__(
        self,
        name: str,
        f: Callable[..., Any],
        resources: Mapping[str, Any] | None = None,
        pre: Sequence[Preprocessor] | None = None,
        text_field: str = "text",
        doc_field: str = "doc",
        language: str | Path | Language = EN_CORE_WEB_SM,
        disable: Sequence[str] | None = None,
        memoize: bool = True,
        memoize_key: Callable[[Any], Hashable] | None = None,
        gpu: bool = False,
        *,
        id: str | None = None,  # noqa: A002 - the field's name everywhere
        description: str | None = None,
        pure: bool = False,
        version: str | int | None = None,
    ) -> None:
        nlp = SpacyPreprocessor(
            text_field, doc_field, language, disable, pre, memoize, memoize_key, gpu
        )
        super().__init__(
            name, f, resources, [_shared(nlp)],
            id=id, description=description, pure=pure, version=version,
        )  # fmt: skip


def _shared(nlp: SpacyPreprocessor) -> SpacyPreprocessor:
    """Return the preprocessor of the same parameters that is there already, if any."""
    key = nlp.f, nlp.pre, nlp.memoize, nlp.memoize_key
    return _PREPROCESSORS.setdefault(key, nlp)


_PREPROCESSORS: weakref.WeakValueDictionary[Any, SpacyPreprocessor] = weakref.WeakValueDictionary()


class nlp_slicing_function(slicing_function):  # noqa: N801 - a decorator, named as people know it
    """Make an :class:`NLPSlicingFunction` of a function.

    Raises
    ------
    ValueError
        If the decorator is used without parentheses.

    Examples
    --------
    ::

        @nlp_slicing_function()
        def names_a_person(x):
            return any(entity.label_ == "PERSON" for entity in x.doc.ents)
    """

    def __init__(
        self,
        name: str | None = None,
        resources: Mapping[str, Any] | None = None,
        pre: Sequence[Preprocessor] | None = None,
        text_field: str = "text",
        doc_field: str = "doc",
        language: str | Path | Language = EN_CORE_WEB_SM,
        disable: Sequence[str] | None = None,
        memoize: bool = True,
        memoize_key: Callable[[Any], Hashable] | None = None,
        gpu: bool = False,
        *,
        id: str | None = None,  # noqa: A002
        description: str | None = None,
        pure: bool = False,
        version: str | int | None = None,
    ) -> None:
        super().__init__(
            name, resources, pre, id=id, description=description, pure=pure, version=version
        )
        self._of_text: dict[str, Any] = {
            "text_field": text_field, "doc_field": doc_field, "language": language,
            "disable": disable, "memoize": memoize, "memoize_key": memoize_key, "gpu": gpu,
        }  # fmt: skip

    def _function(
        self, name: str, f: Callable[..., Any], about: Mapping[str, Any]
    ) -> NLPSlicingFunction:
        return NLPSlicingFunction(name, f, self.resources, self.pre, **self._of_text, **about)


describe(SpacyPreprocessor, preprocessor_parts)
describe(NLPSlicingFunction, slice_parts)
