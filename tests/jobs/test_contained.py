"""Slicing functions that end their worker, never end, or take all memory: named, or left out."""

from __future__ import annotations

import logging
import time

import pytest

pytestmark = pytest.mark.slow

HEAD = """
import ctypes, os, re, signal, time

class Mute(Exception):
    def __str__(self):
        raise RuntimeError("no")
    __repr__ = __str__

@slicing_function()
def fine(x):
    return x.id % 2 == 0

@slicing_function()
def by_row(x):
    return len([x.id]) == x.id
"""
HOSTILE = {
    "endless": "while x.id == 7: pass",
    "holds": "x.id == 7 and sum(iter(int, 1))",
    "sleeps": "x.id == 7 and time.sleep(100)",
    "leaves": "x.id == 7 and os._exit(0)",
    "crashes": "x.id == 7 and ctypes.string_at(0)",
    "dies": "x.id == 7 and os.kill(os.getpid(), signal.SIGKILL)",
    "closes": "x.id == 7 and os.closerange(3, 256)",
    "regex": "return bool(re.search('^(a+)+$', x.text if x.id == 7 else 'b'))",
}
RAISES = {
    "large": "return x.id != 7 or len(b'x' * (20 << 30)) > 0",
    "quits": "if x.id == 7: raise SystemExit(0)\n    return True",
    "interrupts": "if x.id == 7: raise KeyboardInterrupt\n    return True",
    "generator": "if x.id == 7: raise GeneratorExit\n    return True",
    "mute": "if x.id == 7: raise Mute\n    return True",
    "deep": "return deep(x) if x.id == 7 else True",
    "odd": "return Mute if x.id == 7 else True",
}
ROWS = [(i, "a" * 40 + "b" if i == 7 else "a") for i in range(20)]
LIMITS = {"seconds": 1, "memory_mb": 400}
HOW = "or set on_error: quarantine to leave the slice out"
FASTER, MEND = f"make it faster, raise limits.seconds, {HOW}", f"mend the function, {HOW}"
LATE = "it did not finish within 1 s"
FIX = 'fix the function, or set on_error: "null" to leave such rows undecided and count them'


def module(bench, bodies):
    functions = (f"@slicing_function()\ndef {n}(x):\n    {body}\n" for n, body in bodies.items())
    return bench.module(HEAD + "\n".join(functions))


def line(bench, module, name, after=1):
    lines = (bench.folder / module).read_text().splitlines()
    return f"({module}:{lines.index(f'def {name}(x):') + 1 + after})"


@pytest.mark.parametrize("tier", [None, "row"])
def test_an_endless_function_is_named_with_its_row(bench, tier):
    bench.rows(ROWS, "id int, text string")
    for name in ("endless", "regex"):
        own = module(bench, {name: HOSTILE[name]})
        project = bench.project(sf_modules=[own], limits=LIMITS, **({"tier": tier} if tier else {}))
        start = time.monotonic()
        error = bench.run("label_slices", project).error
        assert time.monotonic() - start < 60
        assert error == f"slice {name!r} failed on row id=7: {LATE} {line(bench, own, name)}; " + (
            FASTER
        )


def test_a_function_that_is_slow_on_every_row_is_named_with_the_batch(bench):
    bench.rows(ROWS, "id int, text string")
    own = module(bench, {"slow": "time.sleep(.15)"})
    error = bench.run("label_slices", bench.project(sf_modules=[own], limits=LIMITS)).error
    assert error == (
        f"slice 'slow' failed on the 20 rows from id=0 to id=19: {LATE} "
        f"{line(bench, own, 'slow')}; {FASTER}"
    )


@pytest.mark.parametrize("name", ["leaves", "crashes"])
def test_a_function_that_ends_its_worker_is_named_with_its_row(bench, name):
    bench.rows(ROWS, "id int, text string")
    own = module(bench, {name: HOSTILE[name]})
    error = bench.run("label_slices", bench.project(sf_modules=[own])).error
    crash = f"it ended its worker process: Segmentation fault {line(bench, own, name)}"
    cause = {"leaves": "it called os._exit(0)", "crashes": crash}[name]
    assert error == f"slice {name!r} failed on row id=7: {cause}; {MEND}"
    assert not (bench.folder / "out" / "masks").exists()


def test_hostile_functions_in_quarantine_leave_the_others_as_they_are(bench):
    bench.rows(ROWS, "id int, text string")
    own = module(bench, {**HOSTILE, **RAISES})
    settings = {"slices": [{"name": "both", "where": "fine & ~leaves"}]}
    project = bench.project(sf_modules=[own], limits=LIMITS, on_error="quarantine", **settings)
    out = bench.done("label_slices", project)
    hostile = [*HOSTILE, *RAISES]
    marks = {
        r["id"]: r["quarantined"] for r in bench.read(bench.place("slices")) if r["quarantined"]
    }
    assert marks.keys() == set(hostile)
    for name, cause in marks.items():
        assert "on row id=7" in cause, (name, cause)
        assert f"slice {name!r} is in quarantine, its mask is null on all rows: {cause}" in out
    late = {name for name, cause in marks.items() if LATE in cause}
    assert late == {"endless", "holds", "sleeps", "regex"}
    assert (
        "failed on 1 of 20 rows, more than max_error_rate=0 allows: on row id=7 "
        in (marks["large"])
    )
    covered = {r["slice"]: (r["n_in"], r["n_null"]) for r in bench.read(bench.place("coverage"))}
    assert covered == {
        "fine": (10, 0), "by_row": (1, 0), "both": (0, 10), **dict.fromkeys(hostile, (0, 20)),
    }  # fmt: skip
    again = bench.done("label_slices", project)
    assert f"unchanged {bench.place('masks')}" in again
    assert "slice 'leaves' is in quarantine, its mask is null on all rows: " in again


def test_each_slice_has_its_own_policy(bench, caplog):
    bench.rows(ROWS, "id int, text string")
    own = module(bench, {"leaves": HOSTILE["leaves"], "mute": RAISES["mute"]})
    policies = {"leaves": "quarantine", "mute": None}
    settings = {"sf_modules": [own], "max_error_rate": 0.05}
    with caplog.at_level(logging.WARNING):
        bench.done("label_slices", bench.project(**settings, on_errors=policies))
    masks = bench.masks()
    assert masks[6] == {"fine": True, "by_row": False, "leaves": None, "mute": True}
    assert masks[7] == {"fine": False, "by_row": False, "leaves": None, "mute": None}
    assert "slice 'mute' failed on 1 of 20 rows" in caplog.text
    # Without it, the first failure stops the run; a slice that isn't there is refused.
    stopped = bench.run("label_slices", bench.project(**settings, on_errors={"mute": "null"}))
    assert stopped.error == f"slice 'leaves' failed on row id=7: it called os._exit(0); {MEND}"
    fails = bench.run("label_slices", bench.project(**settings, on_errors={"leaves": "quarantine"}))
    place = line(bench, own, "mute")
    assert fails.error == (
        f"slice 'mute' failed on row id=7 having id=7: Mute: (what it says can't be told) {place}; "
        f"{FIX}"
    )
    wrong = bench.run("label_slices", bench.project(**settings, on_errors={"leavs": "fail"}))
    assert wrong.error == "on_errors: there is no slice 'leavs'; did you mean 'leaves'?"


def test_packed_masks_have_no_bit_of_a_slice_in_quarantine(bench):
    bench.rows(ROWS, "id int, text string")
    own = module(bench, {"leaves": HOSTILE["leaves"], "mute": RAISES["mute"]})
    settings = {"sf_modules": [own], "layout": "packed", "on_error": "quarantine"}
    bench.done("label_slices", bench.project(**settings))
    words = {i: (row["in_0"], row["null_0"]) for i, row in bench.masks().items()}
    assert [words[i] for i in (0, 1, 7)] == [(0b0001, 0b1100), (0b0010, 0b1100), (0, 0b1100)]


def test_a_predicate_that_fails_is_left_out_too(bench):
    bench.rows(ROWS, "id int, text string")
    slices = [{"name": "n", "where": "int(text) = 7"}, {"name": "few", "where": "id < 3"}]
    out = bench.done("label_slices", bench.project(slices=slices, on_error="quarantine"))
    assert (
        "slice 'n' is in quarantine, its mask is null on all rows: the predicate 'int(text) = 7' "
        "failed on a row: [CAST_INVALID_INPUT] The value 'a"
    ) in out
    assert {k: (m["n"], m["few"]) for k, m in bench.masks().items() if k in (2, 3)} == {
        2: (None, True), 3: (None, False),
    }  # fmt: skip


def test_a_mended_slice_comes_back(bench):
    bench.rows(ROWS, "id int, text string")
    own = module(bench, {"mute": RAISES["mute"]})
    policy = {"on_error": "quarantine"}
    bench.done("label_slices", bench.project(sf_modules=[own], **policy))
    mended = module(bench, {"mute": "return x.id == 7"})
    out = bench.done("label_slices", bench.project(sf_modules=[mended], **policy))
    assert "slices in quarantine are tried again" in out
    assert "is in quarantine" not in out
    assert bench.masks()[7]["mute"] is True
    marks = {r["id"]: r["quarantined"] for r in bench.read(bench.place("slices"))}
    assert marks["mute"] is None


def test_an_evaluation_shows_slices_in_quarantine(bench):
    bench.rows([(i, i % 2) for i in range(20)], "id int, label int")
    own = module(bench, {"mute": RAISES["mute"]})
    settings = {"sf_modules": [own], "on_error": "quarantine", "label": "label"}
    project = bench.project(**settings, metrics=["accuracy", "count"], predictions={"m": {}})
    bench.done("label_slices", project)
    rows = bench.spark.range(20).selectExpr("int(id) id", "int(id % 2) label", "0 pred")
    bench.write(rows, bench.place("predictions_m"))
    out = bench.done("evaluate_slices", project)
    figures = {(r["slice"], r["metric"]): r for r in bench.read(bench.place("metrics"))}
    assert figures["fine", "accuracy"]["value"] == 1.0
    for metric in ("accuracy", "count"):
        row = figures["mute", metric]
        assert (row["value"], row["support"], row["n_null"]) == (None, 0, 20)
        assert row["status"] == "quarantined"
    cause = "failed on 1 of 20 rows, more than max_error_rate=0 allows: on row id=7 having id=7: "
    assert "Slices in quarantine" in out
    assert cause in out
    page = (bench.folder / "out" / "report.html").read_text()
    assert "in quarantine" in page
    assert cause in page


def test_a_slice_in_quarantine_in_some_partitions_is_marked_with_them(bench):
    rows = [(f"2024-05-0{1 + i // 10}", i) for i in range(20)]
    bench.rows(rows, "ds string, id int", by=["ds"])
    own = module(bench, {"mute": RAISES["mute"].replace("7", "17")})
    settings = {"sf_modules": [own], "on_error": "quarantine", "partition_by": ["ds"]}
    project = bench.project(**settings, max_error_rate=0.05)
    bench.done("label_slices", project)
    out = bench.done("label_slices", project, "--where", "ds = '2024-05-02'")
    assert (
        "slice 'mute' is in quarantine, its mask is null on all rows: failed on 1 of 10 rows, more "
        "than max_error_rate=0.05 allows: on row ds=2024-05-02, id=17 having id=17: Mute: (what it "
        f"says can't be told) {line(bench, own, 'mute')} (where ds = '2024-05-02')"
    ) in out
    masks = bench.masks()
    assert [masks[i]["mute"] for i in (9, 10, 19)] == [True, None, None]
    bench.done("label_slices", project, "--where", "ds = '2024-05-01'")
    kept = {r["id"]: r["quarantined"] for r in bench.read(bench.place("slices"))}
    assert kept["mute"].endswith("(where ds = '2024-05-02')")
