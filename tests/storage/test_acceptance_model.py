"""A model of the commit order: whatever runs do and wherever they die, readers see whole runs.

The table is a list of commits that each have its content, and Spark isn't there. Readers must see
what the last accepted run left, and what others did to that; never a candidate's rows.
"""

from __future__ import annotations

import json
from typing import Any
from unittest import mock

from hypothesis import settings
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from engine.storage.acceptance import Acceptance
from engine.storage.delta_log import Commit, DeltaLeaf

ID = "table"


class Table(RuleBasedStateMachine):
    """One table, runs that write it one at a time, and others who know no runs."""

    def __init__(self) -> None:
        super().__init__()
        self.log: list[Commit] = []
        self.contents: list[tuple[str, ...]] = []
        self.runs = 0
        self.live: str | None = None  # who holds the table
        self.last: int | None = None  # the live run's last version
        self.open: set[str] = set()
        self.versions: dict[str, int] = {}
        self.truth: tuple[str, ...] | None = None

    @initialize()
    def patch(self) -> None:
        def commit(_: Any, __: str, version: int) -> Commit | None:
            return self.log[version] if version < len(self.log) else None

        self.patched = mock.patch("engine.storage.acceptance.read_commit", commit)
        self.patched.start()

    def teardown(self) -> None:
        self.patched.stop()

    @property
    def newest(self) -> int:
        return len(self.log) - 1

    @property
    def acceptance(self) -> Acceptance:
        return Acceptance(dict(self.versions), frozenset(self.open))

    def leaf(self) -> DeltaLeaf:
        return DeltaLeaf(ID, "log", self.newest, "")

    def on_candidate(self) -> bool:
        return self.acceptance.candidate(None, self.leaf(), self.newest) is not None

    def commit(self, content: tuple[str, ...], operation: str, run: str = "", **given: Any) -> None:
        info: dict[str, Any] = {"operation": operation, "operationParameters": given}
        if run:
            info["userMetadata"] = json.dumps({"run": run})
        self.log.append(Commit(len(self.log), "", info, operation != "OPTIMIZE"))
        self.contents.append(content)

    @precondition(lambda self: self.live is None)
    @rule()
    def begin(self) -> None:
        """Hold the table, and take back what the run before left."""
        self.runs += 1
        self.live, self.last = f"run {self.runs}", None
        if self.log and self.on_candidate():
            version = self.acceptance.version(None, self.leaf())
            if version is None and self.newest:
                self.commit((), "DELETE")
            elif version is None:
                self.log, self.contents, self.truth = [], [], None
            else:
                self.commit(self.contents[version], "RESTORE", version=str(version))
        self.open.add(self.live)

    @precondition(lambda self: self.live)
    @rule()
    def overwrite(self) -> None:
        self.commit((f"{self.live} {len(self.log)}",), "WRITE", str(self.live))
        self.last = self.newest

    @precondition(lambda self: self.live and self.log)
    @rule()
    def append(self) -> None:
        content = (*self.contents[-1], f"{self.live} {len(self.log)}")
        self.commit(content, "MERGE", str(self.live))
        self.last = self.newest

    @precondition(lambda self: self.live and self.last is not None)
    @rule()
    def accept(self) -> None:
        self.open.remove(str(self.live))
        self.versions[ID] = max(self.versions.get(ID, -1), self.last or 0)
        self.live, self.truth = None, self.contents[-1]

    @precondition(lambda self: self.live)
    @rule()
    def die(self) -> None:
        self.live = None

    @precondition(lambda self: self.log)
    @rule()
    def somebody_else(self) -> None:
        counts = not self.on_candidate()
        self.commit((*self.contents[-1], f"else {len(self.log)}"), "WRITE")
        if counts:
            self.truth = self.contents[-1]

    @precondition(lambda self: self.log)
    @rule()
    def maintain(self) -> None:
        self.commit(self.contents[-1], "OPTIMIZE")

    @invariant()
    def readers_see_whole_runs(self) -> None:
        version = self.acceptance.version(None, self.leaf()) if self.log else None
        seen = None if version is None else self.contents[version]
        # A table that was emptied, for none of its rows counted, is none or has no rows.
        assert (seen or None) == (self.truth or None)


Table.TestCase.settings = settings(max_examples=300, stateful_step_count=40, deadline=None)
test_readers_see_whole_runs = Table.TestCase
