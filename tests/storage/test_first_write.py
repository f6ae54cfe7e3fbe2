"""A place where a table is made: whose files are there, and which of them are removed."""

from __future__ import annotations

from contextlib import suppress
from pathlib import Path
from typing import ClassVar

import pytest

from engine.errors import TableError
from engine.storage import delta_log


class Status:
    def __init__(self, path: Path):
        self.path = path

    def getPath(self):
        return Named(self.path)

    def isDirectory(self):
        return self.path.is_dir()


class Named(type(Path())):
    """A path as Hadoop has it."""

    def getName(self):
        return self.name

    def toString(self):
        return str(self)


class Iterated:
    def __init__(self, paths):
        self.paths = list(paths)

    def hasNext(self):
        return bool(self.paths)

    def next(self):
        return Status(self.paths.pop())


class Files:
    """Hadoop's file system, as far as a first write needs it, over a folder."""

    deleted: ClassVar[list[str]] = []

    def exists(self, path):
        return Path(path).exists()

    def create(self, path, overwrite):
        Path(path).parent.mkdir(parents=True, exist_ok=True)
        Path(path).touch()
        return type("Stream", (), {"close": lambda self: None})()

    def delete(self, path, recursive):
        path = Path(path)
        self.deleted.append(path.name)
        if path.exists():
            path.rmdir() if path.is_dir() else path.unlink()

    def listFiles(self, path, recursive):
        return Iterated(p for p in Path(path).rglob("*") if p.is_file())

    def listStatus(self, path):
        return [Status(p) for p in Path(path).iterdir()]

    def makeQualified(self, path):
        return Named(path)


@pytest.fixture
def place(tmp_path, monkeypatch):
    monkeypatch.setattr(delta_log, "file_system", lambda spark, path: (Files(), Named(path)))
    monkeypatch.setattr(delta_log, "path_of", lambda spark, *parts: Named(*parts))
    return tmp_path / "table"


def put(place: Path, *names: str) -> None:
    for name in names:
        (place / name).parent.mkdir(parents=True, exist_ok=True)
        (place / name).touch()


def names(place: Path) -> list[str]:
    return sorted(str(p.relative_to(place)) for p in place.rglob("*") if p.is_file())


def first(place: Path, attempt: str = "a"):
    return delta_log.first_write(None, str(place), attempt)


def test_a_write_that_succeeds_leaves_its_files_and_no_mark(place):
    put(place, "_writing-dead", "part-0")  # a killed run's
    with first(place):
        assert names(place) == ["_writing-a", "_writing-dead", "part-0"]
        put(place, "part-1", "_delta_log/0.json")
    assert names(place) == ["_delta_log/0.json", "part-0", "part-1"]


def test_a_write_that_fails_alone_leaves_nothing(place):
    with suppress(KeyboardInterrupt), first(place):
        put(place, "day=1/part-0")
        Files.deleted.clear()
        raise KeyboardInterrupt
    assert not place.exists()
    # The mark goes last: another run that looks meanwhile takes no file for a user's.
    assert Files.deleted[:2] == ["part-0", "_writing-a"]


def test_a_write_that_fails_beside_a_committed_one_leaves_all(place):
    with suppress(ValueError), first(place):
        put(place, "part-0", "part-theirs", "_delta_log/0.json")
        raise ValueError
    assert names(place) == ["_delta_log/0.json", "part-0", "part-theirs"]


@pytest.mark.parametrize("order", ["ab", "ba"])
def test_two_that_fail_leave_what_hinders_no_third(place, order):
    writes = {name: first(place, name) for name in "ab"}
    for name, write in writes.items():
        write.__enter__()
        put(place, f"part-{name}")
    for name in order:
        with suppress(ValueError):
            writes[name].__exit__(ValueError, ValueError(), None)
        assert {"part-a", "part-b"} - set(names(place)) in (set(), {"part-a", "part-b"})
    with first(place, "c"):
        put(place, "part-c", "_delta_log/0.json")
    assert {"part-c", "_delta_log/0.json"} <= set(names(place))
    assert not [name for name in names(place) if name.startswith("_writing")]


def test_files_that_no_write_left_are_nobodys_place(place):
    put(place, "notes.txt")
    with (
        pytest.raises(TableError, match="holds files that are no Delta table"),
        first(place),
    ):
        raise AssertionError
    assert names(place) == ["notes.txt"]
