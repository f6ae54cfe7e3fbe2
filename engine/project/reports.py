"""The reports of a project: a page per evaluation, the newest by one name, and their index."""

from __future__ import annotations

import datetime as dt
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from engine.project.settings import Project
from engine.report.archive import Archive, read_archive, read_head
from engine.report.page import render_index
from engine.slicing.ids import slug
from engine.storage.texts import replace_text

REPORT = "report.html"
_PAGES, _ARCHIVES, _INDEX = "reports", "report_archive", "index.html"
_OLD_ARCHIVE = "report.json"  # of versions that had a single report
_HASH = 12  # digits of a key in a file's name


@dataclass(frozen=True)
class Report:
    """One report.

    Attributes
    ----------
    page
        The page's text.
    archive
        What it shows, on terminals too.
    """

    page: str
    archive: Archive


@dataclass(frozen=True)
class ReportFiles:
    """Where one report is.

    Attributes
    ----------
    newest
        The file that is always the newest report.
    own
        The file that stays this report.
    """

    newest: Path
    own: Path

    def __str__(self) -> str:
        return f"{self.newest} ({self.own})"


@dataclass(frozen=True)
class Reports:
    """The reports of a project.

    Attributes
    ----------
    project
        The project.
    """

    project: Project

    def find(self, key: str) -> tuple[ReportFiles, Archive] | None:
        """Return the report that was made of the same; None where its page is gone."""
        for file in self._archives(key):
            archive, page = read_archive(file.read_text(encoding="utf-8")), self._page(file)
            if archive is not None and archive.key == key and page.is_file():
                return ReportFiles(self.project.file(REPORT), page), archive
        return None

    def write(self, report: Report, date: dt.datetime) -> ReportFiles:
        """Write a report in place of that of the same, leave out the oldest, and list all."""
        project, key = self.project, report.archive.key
        for name in (_PAGES, _ARCHIVES):
            project.file(name).mkdir(parents=True, exist_ok=True)
        for file in self._archives(key):
            self._remove(file)
        models = slug(report.archive.about.get("models", "report"))
        stem = f"{date:%Y%m%d-%H%M%S}-{models}-{key[:_HASH]}"
        own = project.file(_PAGES) / f"{stem}.html"
        replace_text(own, report.page)
        replace_text(project.file(_ARCHIVES) / f"{stem}.json", report.archive.text)
        for file in self._archives()[project.report.keep :]:
            self._remove(file)
        project.file(_OLD_ARCHIVE).unlink(missing_ok=True)
        replace_text(project.file(_PAGES) / _INDEX, render_index(project.name, self._list()))
        return self.show(ReportFiles(project.file(REPORT), own))

    def show(self, files: ReportFiles) -> ReportFiles:
        """Make a report that is there the newest."""
        page = files.own.read_text(encoding="utf-8")
        if not files.newest.is_file() or files.newest.read_text(encoding="utf-8") != page:
            replace_text(files.newest, page)
        return files

    def _list(self) -> list[tuple[str, Mapping[str, str]]]:
        """Return the pages that are there, with what each is about; the newest first."""
        listed: list[tuple[str, Mapping[str, str]]] = []
        for file in self._archives():
            with file.open(encoding="utf-8") as lines:
                head = read_head(lines.readline())
            if head is not None and self._page(file).is_file():
                listed.append((self._page(file).name, head[1]))
        return listed

    def _archives(self, key: str = "") -> list[Path]:
        """Return the archives' files, those of one key or all; the newest first."""
        name = f"*-{key[:_HASH]}.json" if key else "*.json"
        return sorted(self.project.file(_ARCHIVES).glob(name), reverse=True)

    def _page(self, archive: Path) -> Path:
        return self.project.file(_PAGES) / f"{archive.stem}.html"

    def _remove(self, archive: Path) -> None:
        self._page(archive).unlink(missing_ok=True)
        archive.unlink(missing_ok=True)
