"""What this machine lacks for a run, each with its fix: ``slice-engine doctor``."""

from __future__ import annotations

import os
import shutil
import sys
import tempfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

from engine.errors import EngineError
from engine.storage.java import check_java

_PAIRS = {"4.1": "4.3"}  # versions of Spark to those of Delta Lake that go with them
_LEAST_MEMORY, _LEAST_DISK = 4, 2  # GiB
_GIB = 2**30
_EXTRAS = {"torch": "train", "sklearn": "train", "spacy": "nlp"}


@dataclass(frozen=True)
class Finding:
    """What one check says.

    Attributes
    ----------
    about
        What was looked at.
    text
        What is there.
    fix
        What to do; empty where all is well.
    needed
        Whether nothing runs without it.
    """

    about: str
    text: str
    fix: str = ""
    needed: bool = True

    def __str__(self) -> str:
        mark = "ok  " if not self.fix else "FAIL" if self.needed else "note"
        return f"{mark} {self.about:<12} {self.text}{f': {self.fix}' if self.fix else ''}"


def examined(root: str | None = None) -> list[Finding]:
    """Return what each check says, in the order in which a run would meet it.

    Parameters
    ----------
    root
        Where a project's tables go, if there is one.

    Examples
    --------
    >>> [f.about for f in examined()][:2]
    ['Python', 'Java']
    """
    return [finding for check in _CHECKS for finding in check(root)]


def _python(_: str | None) -> Iterator[Finding]:
    text = ".".join(map(str, sys.version_info[:3]))
    old = sys.version_info < (3, 11)
    yield Finding("Python", text, "3.11 or newer is needed: install one" if old else "")
    workers = os.environ.get("PYSPARK_PYTHON")
    if workers and shutil.which(workers) is None:
        yield Finding("workers", f"PYSPARK_PYTHON is {workers!r}", "no such program: unset it")


def _java(_: str | None) -> Iterator[Finding]:
    try:
        yield Finding("Java", str(check_java()))
    except EngineError as error:
        yield Finding("Java", "none that Spark can use", str(error))


def _spark(_: str | None) -> Iterator[Finding]:
    spark, delta = (_version(name) for name in ("pyspark", "delta-spark"))
    for about, of in (("Spark", spark), ("Delta Lake", delta)):
        yield Finding(about, of or "none", "" if of else "pip install slice-engine")
    if spark and delta:
        wanted = _PAIRS.get(_minor(spark))
        if wanted is None:
            yield Finding("versions", f"Spark {spark}", f"{' or '.join(_PAIRS)} was tried", False)
        elif _minor(delta) != wanted:
            fix = f"pip install 'delta-spark=={wanted}.*'"
            yield Finding("versions", f"Delta Lake {delta} with Spark {spark}", fix)


def _extras(_: str | None) -> Iterator[Finding]:
    for name, extra in _EXTRAS.items():
        package = {"sklearn": "scikit-learn"}.get(name, name)
        of = _version(package)
        fix = f"models need it: pip install 'slice-engine[{extra}]'" if extra == "train" else ""
        fix = fix or f"parsed texts need it: pip install 'slice-engine[{extra}]'"
        yield Finding(package, of or "none", "" if of else fix, needed=False)


def _memory(_: str | None) -> Iterator[Finding]:
    try:
        there = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / _GIB
    except (AttributeError, OSError, ValueError):  # a system that doesn't say
        return
    low = there < _LEAST_MEMORY
    fix = f"less than {_LEAST_MEMORY} GiB: set spark.driver.memory in the project file's spark:"
    yield Finding("memory", f"{there:.1f} GiB", fix if low else "", needed=False)


def _folders(root: str | None) -> Iterator[Finding]:
    scratch = os.environ.get("SPARK_LOCAL_DIRS", "").split(",")[0] or tempfile.gettempdir()
    places = {"scratch": scratch, **({"root": root} if root and "://" not in root else {})}
    for about, place in places.items():
        folder = _there(Path(place))
        if not os.access(folder, os.W_OK):
            yield Finding(about, place, f"{folder} can't be written: choose another")
            continue
        free = shutil.disk_usage(folder).free / _GIB
        low = free < _LEAST_DISK
        yield Finding(about, f"{place}, {free:.1f} GiB free", "make room" if low else "", False)


def _there(path: Path) -> Path:
    """Return a folder, or the first above it that is there."""
    while not path.exists() and path != path.parent:
        path = path.parent
    return path


def _version(package: str) -> str | None:
    try:
        return version(package)
    except PackageNotFoundError:
        return None


def _minor(of: str) -> str:
    return ".".join(of.split(".")[:2])


_CHECKS: tuple[Callable[[str | None], Iterator[Finding]], ...] = (
    _python, _java, _spark, _extras, _memory, _folders,
)  # fmt: skip
