"""Small files that are replaced as a whole: whoever reads one finds the old text or the new one."""

from __future__ import annotations

from pathlib import Path
from uuid import uuid4


def replace_text(file: Path, text: str) -> None:
    """Write a file beside another and put it in its place.

    Parameters
    ----------
    file
        The file; its folder is there.
    text
        What it will hold.
    """
    replace_bytes(file, text.encode())


def replace_bytes(file: Path, data: bytes) -> None:
    """Write a file beside another and put it in its place, as :func:`replace_text` does."""
    fresh = file.with_name(f".{file.name}.{uuid4().hex}")
    try:
        fresh.write_bytes(data)
        fresh.replace(file)
    except BaseException:
        fresh.unlink(missing_ok=True)
        raise
