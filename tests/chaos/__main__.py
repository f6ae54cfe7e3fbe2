"""Make runs fail and die at every call, run them again, and compare with a run that nothing hit.

  python -m tests.chaos all                     all of these, in an order that the seed decides
  python -m tests.chaos exceptions              a fault at each call of each job, one session
  python -m tests.chaos kills                   SIGKILL at each call with a durable effect
  python -m tests.chaos random --count 60       kills at random moments, of driver, JVM, a worker or
                                                an executor; in every third a second writer runs

What was tried isn't tried again: ``--folder`` keeps what was done, and ``--minutes`` ends a run
that another goes on with. ``--only CASE:N:after`` replays one trial. The last line counts trials,
those that differed, and those that needed a hand.
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
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tests.chaos.cases import CASES, Case, project_file, run_job, trial_root, write_source
from tests.chaos.contents import contents
from tests.chaos.seams import Fault, injected
from tests.conftest import JAVA_OPTIONS

VICTIM = "tests.chaos.victim"
VICTIMS = ("driver", "jvm", "worker", "executor")
KINDS = ("exceptions", "kills", "random")


@dataclass(frozen=True)
class Trial:
    """One fault in one case: at the n-th call, or the n-th one at random."""

    case: str
    n: int
    after: bool
    kind: str

    @property
    def name(self) -> str:
        return f"{self.kind}-{self.n}-{'after' if self.after else 'before'}"

    @property
    def key(self) -> tuple[Any, ...]:
        return self.case, self.n, self.after, self.kind


class Chaos:
    """The trials of one folder, in one session."""

    def __init__(self, folder: Path, spark: Any = None) -> None:
        from engine.storage.session import open_session

        self.folder, self.log = folder, folder / "trials.jsonl"
        folder.mkdir(parents=True, exist_ok=True)
        self.spark = spark or open_session("chaos", {"spark.sql.shuffle.partitions": "2"})
        self.spark.conf.set("spark.databricks.delta.snapshotPartitions", "1")
        with _silence():
            write_source(folder, self.spark)
        self.quiets: dict[tuple[str, bool], tuple[Mapping[str, Any], list[str]]] = {}
        self.done = {
            tuple(json.loads(line)["trial"]): json.loads(line)
            for line in (self.log.read_text().splitlines() if self.log.exists() else ())
        }

    def quiet(self, case: Case, durable: bool) -> tuple[Mapping[str, Any], list[str]]:
        """Return what a run leaves that nothing hits, and the calls that it makes."""
        if (case.name, durable) not in self.quiets:
            with _silence():
                root = trial_root(self.folder, case, f"quiet-{durable}")
            file = project_file(self.folder, root, case.settings)
            with injected(Fault(durable=durable)) as fault, _silence():
                assert run_job(file, case) == 0
            self.quiets[case.name, durable] = contents(self.spark, root), fault.calls
        return self.quiets[case.name, durable]

    def trials(self, kind: str, cases: Sequence[Case], count: int, seed: int) -> list[Trial]:
        """Return all trials of a kind, in order."""
        if kind == "random":
            chances = [random.Random(f"{seed} {i}") for i in range(count)]
            who = [(c.choice(cases).name, c.choice(VICTIMS)) for c in chances]
            return [
                Trial(case, i, False, f"random-{of}-{seed}") for i, (case, of) in enumerate(who)
            ]
        durable = kind == "kills"
        each = {case.name: len(self.quiet(case, durable)[1]) for case in cases}
        name = "kill" if durable else "raise"
        return [
            Trial(case, n, after, name)
            for case, calls in each.items()
            for n in range(1, calls + 1)
            for after in (False, True)
        ]

    def attempt(self, trial: Trial, case: Case) -> None:
        """Hit a job, run it again, and note what is wrong then."""
        if trial.kind == "raise":
            call = self._fails(trial, case)
        elif trial.kind == "kill":
            call = self._dies(trial, case)
        else:
            call = self._dies_at_random(trial, case)
        quiet, _ = self.quiet(case, trial.kind != "raise")
        root = self.folder / f"trial-{case.name}-{trial.name}"
        wrong = self._check(case, root, quiet)
        line = {"trial": trial.key, "call": call, "wrong": wrong}
        self.done[trial.key] = line
        with self.log.open("a") as file:
            file.write(json.dumps(line) + "\n")
        print(f"{trial.case} {trial.name} {call}: {wrong or 'same'}", flush=True)
        if not wrong:
            shutil.rmtree(root)

    def run(self, trials: Sequence[Trial], seconds: float = float("inf")) -> bool:
        """Attempt the trials that weren't, until the time is over; return whether that was all."""
        cases, end = {case.name: case for case in CASES}, time.monotonic() + seconds
        for trial in trials:
            if trial.key not in self.done:
                if time.monotonic() > end:
                    return False
                self.attempt(trial, cases[trial.case])
        return True

    def _fails(self, trial: Trial, case: Case) -> str:
        root = trial_root(self.folder, case, trial.name)
        file, fault = project_file(self.folder, root, case.settings), Fault(trial.n, trial.after)
        with contextlib.suppress(Exception), injected(fault), _silence():
            run_job(file, case)
        return self.quiet(case, durable=False)[1][trial.n - 1]

    def _dies(self, trial: Trial, case: Case) -> str:
        root = trial_root(self.folder, case, trial.name)
        when = "after" if trial.after else "before"
        with self._victim(case, root, str(trial.n), when) as victim:
            victim.wait(timeout=300)
        return self.quiet(case, durable=True)[1][trial.n - 1]

    def _dies_at_random(self, trial: Trial, case: Case) -> str:
        """Kill one of the processes; every third time another writer runs beside it."""
        chance, who = random.Random(trial.name), trial.kind.split("-")[1]
        root = trial_root(self.folder, case, trial.name)
        with contextlib.ExitStack() as stack:
            master = "local-cluster[2,1,1024]" if who == "executor" else ""
            victim = stack.enter_context(self._victim(case, root, "0", "before", master))
            two = trial.n % 3 == 0
            other = stack.enter_context(self._victim(case, root, "0", "before")) if two else None
            _wait_for(root.parent / f"{root.name}.begun", victim)
            time.sleep(chance.uniform(0, 12))
            _kill(victim.pid, who)
            for process in (victim, other):
                with contextlib.suppress(subprocess.TimeoutExpired):
                    if process is not None:
                        process.wait(timeout=200)
        return f"{who}, two writers" if two else who

    def _check(self, case: Case, root: Path, quiet: Mapping[str, Any]) -> str:
        """Run the job again; return what is wrong then, or nothing."""
        try:
            file = project_file(self.folder, root, case.settings)
            with _silence() as output:
                status = run_job(file, case)
            if status:
                return f"a hand: {output.getvalue().strip().splitlines()[-1:]}"
            now = contents(self.spark, root)
        except Exception as error:
            return f"a hand: {type(error).__name__} {error}".partition("\n")[0]
        differ = [name for name in now.keys() | quiet.keys() if now.get(name) != quiet.get(name)]
        return f"differs: {differ}" if differ else ""

    @contextlib.contextmanager
    def _victim(
        self, case: Case, root: Path, n: str, when: str, master: str = ""
    ) -> Iterator[subprocess.Popen[bytes]]:
        file = project_file(self.folder, root, case.settings)
        victim = subprocess.Popen(
            [sys.executable, "-m", VICTIM, str(file), case.name, n, when, master],
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
    """Kill a process of a job; without a worker or an executor, its JVM."""
    family = _below(driver)
    java = [pid for pid, name in family if name == "java"]
    executors = [pid for pid in java if b"CoarseGrainedExecutorBackend" in _command(pid)]
    workers = [pid for pid, name in family if name.startswith("python") and pid != driver]
    jvm = [pid for pid in java if pid not in executors][:1]
    chosen = {"driver": [driver], "jvm": jvm, "worker": workers, "executor": executors}[who]
    for pid in (chosen or jvm)[-1:]:
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)


def _command(pid: int) -> bytes:
    with contextlib.suppress(OSError):
        return Path(f"/proc/{pid}/cmdline").read_bytes()
    return b""


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
    arguments.add_argument("kind", choices=("all", *KINDS))
    arguments.add_argument("--folder", help="where trials are, and what was done; a new one")
    arguments.add_argument("--case", action="append", help="only these cases")
    arguments.add_argument("--count", type=int, default=60, help="how many random kills")
    arguments.add_argument("--seed", type=int, default=1, help="of random kills, and of the order")
    arguments.add_argument("--minutes", type=float, default=85, help="how long it takes at most")
    arguments.add_argument("--only", metavar="CASE:N:WHEN", help="replay one trial")
    args = arguments.parse_args()
    end = time.monotonic() + 60 * args.minutes
    os.environ.setdefault("SPARK_SUBMIT_OPTS", JAVA_OPTIONS)
    os.environ.setdefault("OMP_NUM_THREADS", "1")
    chaos = Chaos(Path(args.folder or tempfile.mkdtemp(prefix="chaos-")).resolve())
    cases = [c for c in CASES if not args.case or c.name in args.case]
    kinds = KINDS if args.kind == "all" else (args.kind,)
    trials = [t for kind in kinds for t in chaos.trials(kind, cases, args.count, args.seed)]
    if args.only:
        case, n, when = args.only.split(":")
        trials = [t for t in trials if (t.case, t.n, t.after) == (case, int(n), when == "after")]
        for trial in trials:
            chaos.done.pop(trial.key, None)
    elif args.kind == "all":
        random.Random(args.seed).shuffle(trials)  # so that a part is a sample of all
    whole = chaos.run(trials, end - time.monotonic())
    by_kind = Counter(key[3].partition("-")[0] for key in chaos.done)
    hands = [line for line in chaos.wrong if line["wrong"].startswith("a hand")]
    left = sum(t.key not in chaos.done for t in trials)
    more = "" if whole else f"; {left} are left, which --folder {chaos.folder} goes on with"
    print(
        f"{len(chaos.done)} trials in {chaos.folder} "
        f"({', '.join(f'{n} {kind}' for kind, n in sorted(by_kind.items()))}): "
        f"{len(chaos.wrong) - len(hands)} differed, {len(hands)} needed a hand{more}"
    )
    return int(bool(chaos.wrong))


if __name__ == "__main__":
    sys.exit(main())
