"""Is anything slower than before? Our side of the benchmarks, in turns with an earlier commit.

  .venv/bin/python -m tests.benchmarks.against COMMIT               all cases
  .venv/bin/python -m tests.benchmarks.against COMMIT audit scores  some of them

Each case (:mod:`tests.benchmarks.cases`) runs in a process of its own, on the commit and on this
checkout in turn, each with its own script: a case that is changed is another case. Prints
``ratio <name>: <number>``, the commit's seconds by ours, median over the turns, and ends with 1
where one is below ``LEAST``.
"""

from __future__ import annotations

import os
import re
import statistics
import subprocess
import sys
import tempfile
from collections import defaultdict
from pathlib import Path

from tests.benchmarks.cases import CASES

ROOT = Path(__file__).parents[2]
TURNS, LEAST = 3, 0.9
SECONDS = re.compile(r"seconds (\w+): ([\d.]+)")


def seconds_of(case: str, tree: Path) -> dict[str, float]:
    """Run one case on one checkout, as that checkout has it: modules may have moved since."""
    script = tree / "tests" / "benchmarks" / "cases.py"
    run = subprocess.run(
        [sys.executable, str(script), case],
        cwd=tree,
        env={**os.environ, "PYTHONPATH": str(tree), "OMP_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
        check=False,
    )
    if run.returncode:
        raise SystemExit(f"{case} failed on {tree}:\n{run.stderr[-3000:]}")
    return {name: float(found) for name, found in SECONDS.findall(run.stdout)}


def compare(case: str, before: Path) -> dict[str, float]:
    """Let both checkouts take turns at one case; return its ratios."""
    ratios: dict[str, list[float]] = defaultdict(list)
    for turn in range(1, TURNS + 1):
        old, new = seconds_of(case, before), seconds_of(case, ROOT)
        for name in old:
            print(f"  turn {turn}: {old[name]:8.4f} s before, {new[name]:8.4f} s now  {name}")
            ratios[name].append(old[name] / new[name])
        sys.stdout.flush()
    return {name: statistics.median(found) for name, found in ratios.items()}


def main(commit: str, *cases: str) -> int:
    """Compare with a commit; return 1 where something is slower by more than a tenth."""
    with tempfile.TemporaryDirectory() as folder:
        before = Path(folder) / "before"
        git = ["git", "-C", str(ROOT), "worktree"]
        subprocess.run([*git, "add", "--quiet", "--detach", str(before), commit], check=True)
        try:
            found = [ratio for case in cases or CASES for ratio in compare(case, before).items()]
        finally:
            subprocess.run([*git, "remove", "--force", str(before)], check=True)
    for name, ratio in found:
        print(f"ratio {name}: {ratio:.2f}{'' if ratio >= LEAST else '  SLOWER'}")
    return int(any(ratio < LEAST for _, ratio in found))


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
