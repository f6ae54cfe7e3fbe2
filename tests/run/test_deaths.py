"""The last words of workers: written by a process that dies, read as Spark brings them."""

from __future__ import annotations

import os
import subprocess
import sys
import time

import pytest

from engine.run.deaths import FIRST, LAST, ROW, WORDLESS, Death, death_in

BEGIN = """
import ctypes, os, signal, socket, sys, time
a, b = socket.socketpair()
spark = [a, os.dup(a.fileno())]
from engine.watch import Limits, Task, enter, watched
from engine.run.kernel import Kernel
from engine.slicing.functions import SlicingFunction
import pyarrow as pa
kept = []
def f(x):
{body}
    return True
fine = SlicingFunction("fine", lambda x: x.n > 0)
slow = SlicingFunction("slow", f)
kernel = Kernel([fine, slow])
task = Task("run", Limits({seconds}, {memory}))
for _ in range(3):
    with task.batch(4, 7):
        kernel.run({{"n": pa.array([1, 2, 3, 4])}})
print("lived")
"""
BODIES = {
    "while x.n == 3: pass": "it did not finish within 0.5 s (<string>:11)",
    "time.sleep(60)": "it did not finish within 0.5 s (<string>:11)",
    "ctypes.PyDLL(None).sleep(60)": "it did not finish within 0.5 s (<string>:11)",
    "sum(iter(int, 1))": "it did not finish within 0.5 s (<string>:11)",
    "os._exit(0)": "it called os._exit(0)",
    "os.kill(os.getpid(), signal.SIGKILL)": WORDLESS,
    "ctypes.string_at(0)": "it ended its worker process: Segmentation fault (<string>:11)",
    "os.abort()": "it ended its worker process: Aborted (<string>:11)",
    "os.closerange(3, 64)":
        "it closed a descriptor that is not its own: the way to Spark is gone",
    "kept.append(b'x' * (30 << 20))": "it took more than the 64 MB of limits.memory_mb",
}  # fmt: skip


def end(tmp_path, body, seconds=0.5, memory=64):
    """Run a function in a process of its own; return what Spark would say, and the status."""
    code = BEGIN.format(body=f"    {body}", seconds=seconds, memory=memory)
    worker = subprocess.Popen(
        [sys.executable, "-c", code],
        env={**os.environ, "PYTHON_FAULTHANDLER_DIR": str(tmp_path)},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    out, _ = worker.communicate(timeout=120)
    note = (tmp_path / str(worker.pid)).read_text()
    return f"Python worker exited unexpectedly (crashed): {note}\n\tat org.apache", out


@pytest.mark.slow
@pytest.mark.parametrize(("body", "cause"), BODIES.items(), ids=BODIES)
def test_a_worker_that_ends_says_which_slice_it_ran(tmp_path, body, cause):
    start = time.monotonic()
    said, out = end(tmp_path, body)
    assert time.monotonic() - start < 60
    death = death_in(said)
    assert (out, death.slice_id, death.cause + death.place) == ("", "slow", cause)
    assert (death.facts["partition"], death.facts["rows"]) == (7, 4)
    assert death.facts["start"] % 4 == 0
    assert death.is_late == cause.startswith("it did not finish")


@pytest.mark.slow
@pytest.mark.parametrize(
    "body",
    [
        "time.sleep(.1)",
        "pid = os.fork()\n    if not pid: os._exit(0)\n    os.waitpid(pid, 0)",
        "own = socket.socket(); own.close()",
        "x.n and bytes(1 << 20)",
    ],
)
def test_a_function_within_its_limits_lives(tmp_path, body):
    assert end(tmp_path, body, seconds=2.0)[1] == "lived\n"


@pytest.mark.slow
def test_memory_beyond_the_limit_is_the_rows_own_fault():
    code = (
        "import pyarrow as pa\n"
        "from engine.watch import Limits, watched\n"
        "from engine.run.kernel import Kernel\n"
        "from engine.slicing.functions import SlicingFunction\n"
        "big = SlicingFunction('big', lambda x: len(bytes(x.n << 30)) > 0)\n"
        "with watched(Limits(None, 100), {}):\n"
        "    out = Kernel([big]).run({'n': pa.array([0, 20, 0])})\n"
        "    print(out.masks['big'].tolist(), *(f.cause for f in out.faults))\n"
        "bytes(200 << 20)\n"
        "print('no limit')\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == (
        "[0, -1, 0] MemoryError: it took more than the 100 MB of limits.memory_mb (<string>:5)\n"
        "no limit\n"
    )


HOW = "mend the function, or set on_error: quarantine to leave the slice out"


def test_the_sentences_of_a_death():
    facts = {"rows": 10_000, FIRST: "id=a1", LAST: "id=b7"}
    late = Death("endless", facts, "it did not finish within 60 s", " (sfs.py:3)", is_late=True)
    assert str(late.error({"endless": "is endless"})) == (
        "slice 'is endless' failed on the 10,000 rows from id=a1 to id=b7: it did not finish "
        "within 60 s (sfs.py:3); make it faster, raise limits.seconds, or set on_error: "
        "quarantine to leave the slice out"
    )
    row = Death("s", {**facts, ROW: "id=a5"}, "it called os._exit(0)").error({"s": "s"})
    assert str(row) == f"slice 's' failed on row id=a5: it called os._exit(0); {HOW}"
    assert row.slices == ("s",)
    one = Death("s", {"rows": 1, FIRST: "id=1", LAST: "id=1"}, "x").error({"s": "s"})
    assert str(one) == f"slice 's' failed on row id=1: x; {HOW}"
    unknown = Death("", {}, WORDLESS).error({"s": "s"})
    assert str(unknown) == f"a slice failed: {WORDLESS}; {HOW}"
    compiled = Death("", facts, WORDLESS).error({"s": "s"})
    assert str(compiled) == (
        f"a compiled slice failed on the 10,000 rows from id=a1 to id=b7: {WORDLESS}; {HOW}"
    )
    assert unknown.slices == ()


def test_a_death_without_a_note():
    death = death_in("java.lang: Python worker exited unexpectedly (crashed)\n at x")
    assert death.slice_id == ""
    assert death.cause.startswith("a Python worker ended while slices ran, and left no word")
    assert death_in("something else") is None
