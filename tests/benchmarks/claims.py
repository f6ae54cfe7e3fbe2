"""Run benchmark modules one after the other, and repeat what they claim in one block at the end.

  .venv/bin/python -m tests.benchmarks.claims bench_train bench_sampling

A claim is a line `ratio <claim>: <number>` or `figure <claim>: <number>`. Each module runs in a
process of its own, since one wants torch's threads and the other a JVM.
"""

from __future__ import annotations

import re
import subprocess
import sys

CLAIM = re.compile(r"(ratio|figure) \w+: [\d.]+$")


def run(module: str) -> tuple[int, list[str]]:
    """Pass on what a module prints, but keep its claims back."""
    command = [sys.executable, "-m", f"tests.benchmarks.{module}"]
    kept = []
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        for line in process.stdout or ():
            if CLAIM.match(line):
                kept.append(line)
            else:
                print(line, end="", flush=True)
    return process.returncode, kept


def main(modules: list[str]) -> int:
    failed, claims = 0, []
    for module in modules:
        status, kept = run(module)
        failed, claims = failed or status, claims + kept
    print(*claims, sep="", end="", flush=True)
    return failed


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
