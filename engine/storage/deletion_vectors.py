"""Deletion vectors: which rows of a file Delta has marked as deleted, read without Spark.

Delta's protocol has the form: a number that says it is portable, how many bitmaps there are, then
of each the upper 32 bits of its rows and a Roaring bitmap of the lower ones.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass
from pathlib import Path

import numpy as np

_PORTABLE = 1681511377
_PLAIN, _WITH_RUNS = 12346, 12347  # how Roaring bitmaps begin
_NO_OFFSETS = 4  # fewer containers than this have none, where there are runs
_MOST_LISTED = 4096  # rows of a container; of more there is a bitmap


@dataclass(frozen=True)
class DeletionVector:
    """Where a deletion vector is.

    Attributes
    ----------
    path
        Its file; none where the log has it.
    offset, size
        Where it begins in the file, and its bytes.
    inline
        Its bytes, where the log has it.
    """

    path: str = ""
    offset: int = 0
    size: int = 0
    inline: bytes = b""

    def rows(self) -> np.ndarray:
        """Return the deleted rows' places in their file, ascending.

        Raises
        ------
        OSError
            If it can't be read.
        """
        try:
            return rows_in(self.inline or self._stored())
        except (ValueError, IndexError, struct.error) as error:
            raise OSError(f"the deletion vector in {self.path or 'the log'}: {error}") from error

    def _stored(self) -> bytes:
        with Path(self.path).open("rb") as file:
            file.seek(self.offset)
            (size,) = struct.unpack(">i", file.read(4))
            if size != self.size:
                raise ValueError(f"there are {size} bytes, not {self.size}")
            return file.read(size)


def rows_in(data: bytes) -> np.ndarray:
    """Return the rows in a deletion vector.

    Examples
    --------
    >>> bitmap = struct.pack("<IIHHIHH", 12346, 1, 0, 1, 16, 3, 70)
    >>> rows_in(struct.pack("<IqI", 1681511377, 1, 1) + bitmap).tolist()
    [4294967299, 4294967366]
    """
    magic, n = struct.unpack_from("<Iq", data)
    if magic != _PORTABLE:
        raise ValueError(f"it begins with {magic}")
    at, parts = 12, [np.empty(0, np.int64)]
    for _ in range(n):
        (upper,) = struct.unpack_from("<I", data, at)
        lower, at = _roaring(data, at + 4)
        parts.append(lower + (upper << 32))
    return np.concatenate(parts)


def _roaring(data: bytes, start: int) -> tuple[np.ndarray, int]:
    """Return the values of a Roaring bitmap, and where it ends."""
    (cookie,) = struct.unpack_from("<I", data, start)
    with_runs = cookie & 0xFFFF == _WITH_RUNS
    if not with_runs and cookie != _PLAIN:
        raise ValueError(f"a bitmap begins with {cookie}")
    if with_runs:
        n, at = (cookie >> 16) + 1, start + 4
        flags = np.frombuffer(data, np.uint8, -(-n // 8), at)
        runs, at = np.unpackbits(flags, bitorder="little")[:n], at + len(flags)
    else:
        (n,), at, runs = struct.unpack_from("<I", data, start + 4), start + 8, np.zeros(1, np.uint8)
        runs = np.zeros(n, np.uint8)
    about = np.frombuffer(data, "<u2", 2 * n, at).reshape(n, 2).astype(np.int64)
    at += 4 * n
    if not with_runs or n >= _NO_OFFSETS:
        at += 4 * n
    parts = [np.empty(0, np.int64)]
    for (key, less_one), run in zip(about, runs, strict=True):
        values, at = _container(data, at, int(less_one) + 1, bool(run))
        parts.append(values + (key << 16))
    return np.concatenate(parts), at


def _container(data: bytes, at: int, n: int, run: bool) -> tuple[np.ndarray, int]:
    """Return the values of 65,536 at the most, and where they end."""
    if run:
        (n,) = struct.unpack_from("<H", data, at)
        first, more = np.frombuffer(data, "<u2", 2 * n, at + 2).reshape(n, 2).T.astype(np.int64)
        each = [np.arange(a, a + b + 1) for a, b in zip(first, more, strict=True)]
        return np.concatenate([np.empty(0, np.int64), *each]), at + 2 + 4 * n
    if n <= _MOST_LISTED:
        return np.frombuffer(data, "<u2", n, at).astype(np.int64), at + 2 * n
    bits = np.unpackbits(np.frombuffer(data, np.uint8, 2**13, at), bitorder="little")
    return np.flatnonzero(bits), at + 2**13
