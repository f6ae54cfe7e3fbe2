"""Spark's and Delta's classes as Java keeps them ready to be mapped, for local sessions.

A JVM reads, checks and links some twenty thousand classes before the first row, which takes half
of what a small job takes. Java writes them to an archive once (application class-data sharing), and
maps it from then on. ``python -m engine.storage.session --classes`` makes it; without one, or with
one of another Java or other JARs, which Java sees itself, sessions only start slower.
"""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
from contextlib import suppress
from importlib.metadata import version
from importlib.util import find_spec
from pathlib import Path

from engine.storage.digest import digest
from engine.storage.java import java_path

_QUIET = ("-Xlog:cds=off", "-Xlog:cds+dynamic=off")  # of an archive that isn't of these classes
_SECONDS = 600  # that writing one may take


def archive(folder: Path) -> Path:
    """Return where the archive is of this Java, this Spark and this Delta.

    Parameters
    ----------
    folder
        The engine's cache.
    """
    spark = find_spec("pyspark")
    jars = Path(spark.origin).parent / "jars" if spark and spark.origin else Path()
    since = jars.stat().st_mtime_ns if jars.is_dir() else 0  # Java compares the files' times, too
    about = [os.path.realpath(java_path() or ""), str(jars), str(since), version("delta-spark")]
    return folder / f"classes-{digest(' '.join(about))[:16]}.jsa"


def options(folder: Path) -> list[str]:
    """Return what tells Java to map the archive; nothing where there is none."""
    file = archive(folder)
    return [f'"-XX:SharedArchiveFile={file}"', *_QUIET] if file.is_file() else []


def make(folder: Path, session: str) -> Path | None:
    """Let Java write the archive at the end of a short session; None where it can't.

    Parameters
    ----------
    folder
        The engine's cache.
    session
        A program that runs a session, with the option that is its argument.
    """
    file = archive(folder)
    if file.is_file():
        return file
    with tempfile.TemporaryDirectory(dir=folder) as scratch:
        fresh = Path(scratch, file.name)
        option = f'"-XX:ArchiveClassesAtExit={fresh}"'
        with suppress(subprocess.TimeoutExpired):
            # What is captured ends with the JVM, which writes the archive after Python has ended.
            subprocess.run(
                [sys.executable, "-c", session, option],
                capture_output=True, check=False, cwd=scratch, timeout=_SECONDS,
            )  # fmt: skip
        if fresh.is_file():
            fresh.rename(file)
    return file if file.is_file() else None
