"""Make runs fail and die at every call, run them again, and compare with a run that nothing hit.

  python -m tests.chaos exceptions              a fault at each call of each job, one session
  python -m tests.chaos kills                   SIGKILL at each call with a durable effect
  python -m tests.chaos random --count 60       kills at random moments, of driver, JVM and workers

What was tried isn't tried again: ``--folder`` keeps what was done. ``--only CASE:N:after`` replays
one trial. The last line counts trials, those that differed, and those that needed a hand.
"""

from __future__ import annotations

import argparse
import contextlib
import io
import json
import os
import random
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tests.chaos.cases import CASES, Case, project_file, run_job, trial_root, write_source
from tests.chaos.contents import contents
from tests.chaos.seams import Fault, injected
from tests.conftest import JAVA_OPTIONS

VICTIM = "tests.chaos.victim"


@dataclass(frozen=True)
class Trial:
    """One fault in one case."""

    case: str
    n: int
    after: bool
    kind: str

    @property
    def name(self) -> str:
        return f"{self.kind}-{self.n}-{'after' if self.after else 'before'}"


class Chaos:
    """The trials of one folder, in one session."""

    def __init__(self, folder: Path, spark: Any = None) -> None:
        from engine.storage.session import open_session

        self.folder, self.log = folder, folder / "trials.jsonl"
        folder.mkdir(parents=True, exist_ok=True)
        write_source(folder)
        self.spark = spark or open_session("chaos", {"spark.sql.shuffle.partitions": "2"})
        self.spark.conf.set("spark.databricks.delta.snapshotPartitions", "1")
        self.done = {
            tuple(json.loads(line)["trial"]): json.loads(line)
            for line in (self.log.read_text().splitlines() if self.log.exists() else ())
        }

    def quiet(self, case: Case, durable: bool) -> tuple[Mapping[str, Any], list[str]]:
        """Return what a run leaves that nothing hits, and the calls that it makes."""
        root = trial_root(self.folder, case, f"quiet-{durable}")
        file = project_file(self.folder, root, case.settings)
        with injected(Fault(durable=durable)) as fault, _silence():
            assert run_job(file, case.job) == 0
        return contents(self.spark, root), fault.calls

    def check(self, trial: Trial, case: Case, root: Path, quiet: Mapping[str, Any]) -> str:
        """Run the job again; return what is wrong then, or nothing."""
        try:
            file = project_file(self.folder, root, case.settings)
            with _silence() as output:
                status = run_job(file, case.job)
            if status:
                return f"a hand: {output.getvalue().strip().splitlines()[-1:]}"
            now = contents(self.spark, root)
        except Exception as error:
            return f"a hand: {type(error).__name__} {error}".partition("\n")[0]
        differ = [name for name in now.keys() | quiet.keys() if now.get(name) != quiet.get(name)]
        return f"differs: {differ}" if differ else ""

    def note(self, trial: Trial, call: str, wrong: str) -> None:
        key = (trial.case, trial.n, trial.after, trial.kind)
        line = {"trial": key, "call": call, "wrong": wrong}
        self.done[key] = line
        with self.log.open("a") as file:
            file.write(json.dumps(line) + "\n")
        print(f"{trial.case} {trial.name} {call}: {wrong or 'same'}", flush=True)

    def exceptions(self, cases: Sequence[Case], stride: int, only: str | None) -> None:
        """Let each call of each case fail."""
        for case in cases:
            quiet, calls = self.quiet(case, durable=False)
            for trial in self.trials(case, len(calls), "raise", stride, only):
                root = trial_root(self.folder, case, trial.name)
                file, fault = (
                    project_file(self.folder, root, case.settings),
                    Fault(trial.n, trial.after),
                )
                with contextlib.suppress(Exception), injected(fault), _silence():
                    run_job(file, case.job)
                wrong = self.check(trial, case, root, quiet)
                self.note(trial, calls[trial.n - 1], wrong)
                if not wrong:
                    shutil.rmtree(root)

    def kills(self, cases: Sequence[Case], stride: int, only: str | None) -> None:
        """Kill a process at each call of each case with a durable effect."""
        for case in cases:
            quiet, calls = self.quiet(case, durable=True)
            for trial in self.trials(case, len(calls), "kill", stride, only):
                root = trial_root(self.folder, case, trial.name)
                when = "after" if trial.after else "before"
                with self._victim(case, root, str(trial.n), when) as victim:
                    victim.wait(timeout=300)
                wrong = self.check(trial, case, root, quiet)
                self.note(trial, calls[trial.n - 1], wrong)
                if not wrong:
                    shutil.rmtree(root)

    def random(self, cases: Sequence[Case], count: int, seed: int) -> None:
        """Kill the driver, its JVM or a Python worker at random moments."""
        for i in range(count):
            chance = random.Random(f"{seed} {i}")
            case, who = chance.choice(cases), chance.choice(("driver", "jvm", "worker"))
            trial = Trial(case.name, i, False, f"random-{who}-{seed}")
            if (case.name, i, False, trial.kind) in self.done:
                continue
            quiet, _ = self.quiet(case, durable=True)
            root = trial_root(self.folder, case, trial.name)
            with self._victim(case, root, "0", "before") as victim:
                _wait_for(root.parent / f"{root.name}.begun", victim)
                time.sleep(chance.uniform(0, 12))
                _kill(victim.pid, who)
                with contextlib.suppress(subprocess.TimeoutExpired):
                    victim.wait(timeout=120)
            self.note(trial, who, self.check(trial, case, root, quiet))

    def trials(
        self, case: Case, calls: int, kind: str, stride: int, only: str | None
    ) -> Iterator[Trial]:
        every = [Trial(case.name, n, after, kind) for n in range(1, calls + 1) for after in (0, 1)]
        for trial in every[:: stride or 1]:
            name = f"{trial.case}:{trial.n}:{'after' if trial.after else 'before'}"
            done = (trial.case, trial.n, bool(trial.after), kind) in self.done
            if name == only or not (done or only):
                yield Trial(trial.case, trial.n, bool(trial.after), kind)

    @contextlib.contextmanager
    def _victim(
        self, case: Case, root: Path, n: str, when: str
    ) -> Iterator[subprocess.Popen[bytes]]:
        file = project_file(self.folder, root, case.settings)
        victim = subprocess.Popen(
            [sys.executable, "-m", VICTIM, str(file), case.job, n, when],
            stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, start_new_session=True,
        )  # fmt: skip
        try:
            yield victim
        finally:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(victim.pid, signal.SIGKILL)
            victim.wait()

    @property
    def wrong(self) -> list[dict[str, Any]]:
        return [line for line in self.done.values() if line["wrong"]]


@contextlib.contextmanager
def _silence() -> Iterator[io.StringIO]:
    output = io.StringIO()
    with contextlib.redirect_stdout(output), contextlib.redirect_stderr(output):
        yield output


def _wait_for(file: Path, victim: subprocess.Popen[bytes]) -> None:
    while not file.exists() and victim.poll() is None:
        time.sleep(0.1)


def _kill(driver: int, who: str) -> None:
    """Kill a process of a job; without a worker, its JVM."""
    family = _below(driver)
    java = [pid for pid, name in family if name == "java"]
    workers = [pid for pid, name in family if name.startswith("python") and pid != driver]
    chosen = {"driver": [driver], "jvm": java, "worker": workers or java}[who]
    for pid in chosen[-1:]:
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)


def _below(pid: int) -> list[tuple[int, str]]:
    parents = {}
    for stat in Path("/proc").glob("[0-9]*/stat"):
        with contextlib.suppress(OSError):
            head, _, tail = stat.read_text().rpartition(")")
            number, name = head.split(" (", 1)
            parents[int(number)] = (int(tail.split()[1]), name)
    found = []
    for one in parents:
        at = one
        while at in parents and at != pid:
            at = parents[at][0]
        if at == pid and one != pid:
            found.append((one, parents[one][1]))
    return sorted(found)


def main() -> int:
    arguments = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    arguments.add_argument("kind", choices=("exceptions", "kills", "random"))
    arguments.add_argument("--folder", help="where trials are, and what was done; a new one")
    arguments.add_argument("--case", action="append", help="only these cases")
    arguments.add_argument("--stride", type=int, default=1, help="try every n-th call only")
    arguments.add_argument("--count", type=int, default=60, help="how many random kills")
    arguments.add_argument("--seed", type=int, default=1, help="of random kills")
    arguments.add_argument("--only", metavar="CASE:N:WHEN", help="replay one trial")
    args = arguments.parse_args()
    os.environ.setdefault("SPARK_SUBMIT_OPTS", JAVA_OPTIONS)
    os.environ.setdefault("OMP_NUM_THREADS", "1")
    chaos = Chaos(Path(args.folder or tempfile.mkdtemp(prefix="chaos-")).resolve())
    cases = [c for c in CASES if not args.case or c.name in args.case]
    if args.kind == "random":
        chaos.random(cases, args.count, args.seed)
    else:
        {"exceptions": chaos.exceptions, "kills": chaos.kills}[args.kind](
            cases, args.stride, args.only
        )
    hands = [line for line in chaos.wrong if line["wrong"].startswith("a hand")]
    print(
        f"{len(chaos.done)} trials in {chaos.folder}: {len(chaos.wrong) - len(hands)} differed, "
        f"{len(hands)} needed a hand"
    )
    return int(bool(chaos.wrong))


if __name__ == "__main__":
    sys.exit(main())
