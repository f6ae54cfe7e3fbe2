"""Whose code is it: the user's own, which is read; or others', which counts by its version."""

from __future__ import annotations

import functools
import hashlib
import importlib.metadata
import site
import sys
import sysconfig
from pathlib import Path

# Raised by hand where the standard library or the engine comes to mean something else, so that
# slices are labelled again.
MEANING = 2

_ENGINE = Path(__file__).resolve().parents[1]
_OURS = (_ENGINE, _ENGINE.parent / "jobs")


@functools.lru_cache(maxsize=10_000)
def is_own(file: str | None) -> bool:
    """Tell whether a source file is the user's: not Python's, nor installed, nor the engine's."""
    if file is None:
        return False
    path = Path(file).resolve()
    if _is_sparks(path):
        return False
    return not any(path.is_relative_to(place) for place in (*_OURS, *_installed()))


def _is_sparks(path: Path) -> bool:
    """Tell whether a file is in the pyspark or py4j of a Spark that isn't installed by pip."""
    if any(part == "pyspark.zip" or part.startswith("py4j-") for part in path.parts):
        return True
    folders = (p for p in path.parents if p.name == "pyspark")
    return any((p / "java_gateway.py").is_file() for p in folders)


def package(module: str | None) -> str:
    """Return a module's topmost package.

    Examples
    --------
    >>> package("numpy.linalg"), package(None)
    ('numpy', '')
    """
    return (module or "").partition(".")[0]


@functools.lru_cache(maxsize=10_000)
def version_of(top: str) -> str:
    """Return what tells one version of others' package from another, as text.

    It is empty for the standard library and the engine, which count by :data:`MEANING`.

    Examples
    --------
    >>> version_of("json"), version_of("numpy").startswith("numpy==")
    ('', True)
    """
    if top in sys.stdlib_module_names or top in {"", "engine", "__main__"}:
        return ""
    names = _distributions(top)
    if names:
        return ",".join(f"{n}=={importlib.metadata.version(n)}" for n in names)
    module = sys.modules.get(top)
    stated = getattr(module, "__version__", None)
    if isinstance(stated, str):
        return f"{top}=={stated}"
    return f"{top}={file_digest(getattr(module, '__file__', None))}"


_by_package = functools.cache(importlib.metadata.packages_distributions)


def _distributions(top: str) -> list[str]:
    try:
        importlib.metadata.version(top)
    except importlib.metadata.PackageNotFoundError:
        return sorted(set(_by_package().get(top, ())))
    return [top]


def file_digest(file: str | None) -> str:
    """Return the hex SHA-256 of a file's content; empty where there is none."""
    try:
        return hashlib.sha256(Path(file or "").read_bytes()).hexdigest()
    except OSError:
        return ""


@functools.cache
def _installed() -> tuple[Path, ...]:
    places = {*sysconfig.get_paths().values(), *site.getsitepackages(), site.getusersitepackages()}
    return tuple(Path(p).resolve() for p in places if p not in (sys.prefix, sys.exec_prefix))
