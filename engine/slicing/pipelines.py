"""A pipeline of spaCy: where it comes from, how it is told from another, and loaded once.

spaCy is imported when a pipeline is needed: a driver may only write slices, executors run them.
"""

from __future__ import annotations

import functools
import hashlib
import importlib.util
import pickle
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from engine.errors import SliceError, shown
from engine.slicing.fingerprint.identity import describe
from engine.slicing.fingerprint.parts import Named, Parts, others

if TYPE_CHECKING:
    from spacy.language import Language
    from spacy.tokens import Doc

_LOADED = 4  # pipelines that a Python worker keeps
_BLANK = "blank:"  # how spaCy calls a pipeline that only has a language's tokenizer


@dataclass(frozen=True)
class Pickled:
    """A pipeline that someone made, on its way to a worker.

    Attributes
    ----------
    digest
        Hex digits of its bytes.
    data
        The bytes.
    """

    digest: str
    data: bytes = field(repr=False, compare=False)


@dataclass(frozen=True)
class Pipeline:
    """A pipeline of spaCy.

    Attributes
    ----------
    language
        The name of an installed one, its folder, ``blank:en``; or the pipeline itself.
    disable
        Its components that don't run.
    gpu
        Whether it runs on a GPU where there is one.
    """

    language: str | Language | Pickled
    disable: tuple[str, ...] = ()
    gpu: bool = False

    def docs(self, texts: Sequence[str]) -> list[Doc]:
        """Return texts as the pipeline parses them, all at once.

        Raises
        ------
        TypeError
            If one of them is no text.
        """
        for text in texts:
            if not isinstance(text, str):
                raise TypeError(f"a pipeline of spaCy parses text, found {shown(text)}")
        # In company spaCy's text classifiers score a text without tokens otherwise than alone.
        full, empty = (iter(self._pipe([t for t in texts if bool(t) is b])) for b in (True, False))
        return [next(full if text else empty) for text in texts]

    def _pipe(self, texts: Sequence[str]) -> list[Doc]:
        return list(self._nlp.pipe(texts, disable=self.disable)) if texts else []

    @property
    def _nlp(self) -> Language:
        if not isinstance(self.language, str | Pickled):
            return self.language
        loaded = _loaded(self.language, self.gpu)
        if isinstance(loaded, Exception):
            raise loaded.with_traceback(None)
        return loaded

    def packed(self, dumps: Any) -> Pipeline:
        """Return the pipeline as it travels: by its name, or by what ``dumps`` makes of it."""
        if isinstance(self.language, str | Pickled):
            return self
        data = dumps(self.language)
        pickled = Pickled(hashlib.sha256(data).hexdigest(), data)
        return Pipeline(pickled, self.disable, self.gpu)


@functools.lru_cache(maxsize=_LOADED)
def _loaded(language: str | Pickled, gpu: bool) -> Language | Exception:
    """Load a pipeline, once per process; or return why that fails, which is so for each row."""
    import spacy  # takes seconds to load

    if gpu:
        spacy.prefer_gpu()
    try:
        if isinstance(language, Pickled):
            nlp: Language = pickle.loads(language.data)
            return nlp
        return spacy.load(language)
    except Exception as error:
        return error


def check_there(call: str, language: str) -> None:
    """Check that spaCy and a pipeline are installed here.

    Raises
    ------
    SliceError
        If one of them isn't.
    """
    if not importlib.util.find_spec("spacy"):
        raise SliceError(f"{call}: spaCy is not installed; pip install 'slice-engine[nlp]'")
    if language.startswith(_BLANK) or _folder(language) is not None:
        return
    if not language.isidentifier() or importlib.util.find_spec(language) is None:
        raise SliceError(
            f"{call}: there is no pipeline {language!r} here; install it with `python -m spacy "
            f"download {language}`, or give language a folder, blank:en or a pipeline itself"
        )


def _folder(language: str) -> Path | None:
    path = Path(language)
    return path if (path / "config.cfg").is_file() else None


def _pipeline_parts(pipeline: Pipeline) -> Parts:
    """Describe a pipeline: installed by its version, others by what is in them."""
    below: list[Named] = [("spacy", others("spacy")), ("disable", list(pipeline.disable))]
    language = pipeline.language
    if isinstance(language, Pickled):
        below.append(("", language.digest))
    elif not isinstance(language, str):
        below += _components(language, pipeline.disable)
    elif language.startswith(_BLANK):
        below.append(("", language))
    else:
        folder = _folder(language)
        below += [("", others(language))] if folder is None else [*_files(folder)]
    return Parts("pipeline", below)


def _files(folder: Path) -> Iterator[Named]:
    for path in sorted(p for p in folder.rglob("*") if p.is_file()):
        content = hashlib.sha256(path.read_bytes()).hexdigest()
        yield "", f"{path.relative_to(folder).as_posix()}:{content}"


def _components(nlp: Language, disable: Sequence[str]) -> Iterator[Named]:
    """Yield what a pipeline is made of: its settings, and what each component holds.

    The words that it came across are no part of it.
    """
    yield "config", nlp.config.to_str()
    for name in ("vectors", "lookups"):
        yield name, _content(getattr(nlp.vocab, name))
    yield "tokenizer", _content(nlp.tokenizer)
    for name, component in nlp.pipeline:
        if name not in disable:
            yield f"[{name!r}]", _content(component)


def _content(part: Any) -> Any:
    """Return what a part of a pipeline holds: a function of the user's is described as one."""
    if not hasattr(part, "to_bytes"):
        return part
    import srsly  # comes with spaCy

    try:
        content = srsly.msgpack_loads(part.to_bytes(exclude=["vocab", "strings"]))
    except Exception as error:
        return Parts("component", unknown=f"which can't be read: {type(error).__name__}: {error}")
    if not isinstance(content, dict):
        return content
    # A set is written in another order by each process.
    sets = {k: v for k in content if isinstance(v := getattr(part, k, None), set | frozenset)}
    return {k: hashlib.sha256(v).hexdigest() if isinstance(v, bytes) else v
            for k, v in {**content, **sets}.items()}  # fmt: skip


describe(Pipeline, _pipeline_parts)
