"""Edits of slicing functions: those that may change an answer change the fingerprint, no other.

Each idiom is a module with a slice `s`; `<<old||new>>` marks the edit. Further files of the
project follow behind lines such as `--- words.py`.
"""

from __future__ import annotations

import contextlib
import importlib
import importlib.metadata
import itertools
import os
import re
import subprocess
import sys
import textwrap
import threading
import time
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pyarrow as pa
import pytest

from engine import SlicingFunction, preprocessor, slicing_function, where
from engine.errors import SliceError
from engine.label.plan import compile_slices
from engine.slicing.discovery import load_slices
from engine.slicing.fingerprint import identity
from engine.slicing.fingerprint.identity import fingerprint, unknowns
from engine.slicing.origin import version_of

_COUNT = itertools.count()
_EDIT = re.compile(r"<<(.*?)\|\|(.*?)>>", re.DOTALL)


def edited(text: str, side: int) -> str:
    return _EDIT.sub(lambda m: m.group(side), textwrap.dedent(text))


def idioms(name: str) -> dict[str, str]:
    """Return the idioms of a file: name to source."""
    text = (Path(__file__).parent / "idioms" / f"{name}.txt").read_text()
    _, *parts = re.split(r"^=== (.+)\n", text, flags=re.MULTILINE)
    return dict(zip(parts[::2], parts[1::2], strict=True))


def files_of(text: str) -> dict[str, str]:
    """Return a project's files by name."""
    first, *others = re.split(r"^--- (.+)\n", text, flags=re.MULTILINE)
    files = dict(zip(others[::2], others[1::2], strict=True))
    return {"slices.py": "import engine\nfrom engine import SlicingFunction, slicing_function\n"
            + first, **files}  # fmt: skip


@contextlib.contextmanager
def project(folder: Path, text: str):
    """Write a project, and yield its slice `s`; forget its modules afterwards."""
    for name, content in files_of(text).items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(content)
    before, path = set(sys.modules), list(sys.path)
    sys.path.insert(0, str(folder))
    importlib.invalidate_caches()
    try:
        yield next(sf for sf in load_slices(str(folder / "slices.py")) if sf.name == "s")
    finally:
        sys.path[:] = path
        for name in set(sys.modules) - before:
            if str(getattr(sys.modules[name], "__file__", "")).startswith(str(folder)):
                del sys.modules[name]


def print_of(tmp_path: Path, text: str) -> str:
    with project(tmp_path / f"v{next(_COUNT)}", text) as sf:
        return fingerprint(sf)


CHANGED = idioms("changed")

SAME = idioms("same")


@pytest.mark.parametrize("source", CHANGED.values(), ids=CHANGED)
def test_an_edit_that_may_change_an_answer_changes_the_fingerprint(tmp_path, source):
    one, other = edited(source, 1), edited(source, 2)
    assert one != other
    assert print_of(tmp_path, one) == print_of(tmp_path, one)
    assert print_of(tmp_path, one) != print_of(tmp_path, other)


@pytest.mark.parametrize("source", SAME.values(), ids=SAME)
def test_an_edit_that_changes_no_answer_leaves_the_fingerprint(tmp_path, source):
    one, other = edited(source, 1), edited(source, 2)
    assert one != other
    assert print_of(tmp_path, one) == print_of(tmp_path, other)


CALLS = idioms("calls")


@pytest.mark.parametrize("source", CALLS.values(), ids=CALLS)
def test_a_call_leaves_the_fingerprint(tmp_path, source):
    with project(tmp_path, source) as sf:
        before = fingerprint(sf)
        for n, t in ((1, "a"), (2, "b")):
            sf(SimpleNamespace(n=n, t=t, v=[n]))
        assert fingerprint(sf) == before
        assert unknowns(sf) == ()


def test_a_script_that_may_fill_a_cache_and_does_not_leaves_the_fingerprint(tmp_path):
    source = (
        "SEEN = {}\nclass R:\n    def __init__(self): self.kept, self.n = set(), 0\n"
        "    def put(self, t):\n        self.kept.add(t)\n        self.n += 1\n"
        "        SEEN[t] = self.n\n        return self.n > 1\nr = R()\n"
        "@slicing_function()\ndef s(x): return r.put(x.t)"
    )
    with project(tmp_path, source) as sf:
        before = fingerprint(sf)
        (tmp_path / "script.py").write_text(
            "import slices\nclass P:\n    def put(self): pass\nP().put()"
        )
        importlib.import_module("script")
        assert fingerprint(sf) == before
        sf(SimpleNamespace(t="a"))
        assert fingerprint(sf) != before  # here the script may have filled it


UNKNOWN = idioms("unknown")


@pytest.mark.parametrize("source", UNKNOWN.values(), ids=UNKNOWN)
def test_what_cannot_be_described_is_said(tmp_path, source):
    why, prints = source.partition("\n")[0].removeprefix("# "), []
    for _ in range(2):
        with project(tmp_path / f"v{next(_COUNT)}", source) as sf:
            prints.append(fingerprint(sf))
            assert unknowns(sf) == (why,)
            assert unknowns(sf & SlicingFunction("other", sql="n > 1")) == (why,)
    assert re.fullmatch("[0-9a-f]{16}-unknown", prints[0])
    assert prints[0] == prints[1]


# All but those of a package that imports slowly.
EVERYTHING = {n: s for n, s in (CHANGED | CALLS | SAME).items() if "torch" not in s}


def everything(folder: Path) -> list[str]:
    found = []
    for i, (name, source) in enumerate(EVERYTHING.items()):
        with project(folder / str(i), edited(source, 1)) as sf:
            found.append(f"{fingerprint(sf)} {name}")
    return found


def test_the_same_in_another_process_another_folder_and_with_another_hash_seed(tmp_path):
    code = (
        "import sys, pathlib\n"
        "from tests.slicing.test_fingerprints import everything\n"
        "print(*everything(pathlib.Path(sys.argv[1])), sep='\\n')"
    )
    here = str(Path(__file__).parents[2])
    env = {**os.environ, "PYTHONHASHSEED": "3", "PYTHONPATH": here}
    ran = subprocess.run(
        [sys.executable, "-c", code, str(tmp_path / "another" / "one")],
        capture_output=True, text=True, check=False, cwd=tmp_path, env=env,
    )  # fmt: skip
    assert ran.returncode == 0, ran.stderr
    prints = everything(tmp_path / "one")
    assert ran.stdout.splitlines() == prints
    assert len(prints) == len(EVERYTHING)
    assert not [line for line in prints if "-unknown" in line]


MOVED = idioms("moved")


@pytest.mark.parametrize("source", MOVED.values(), ids=MOVED)
def test_a_project_may_be_moved(tmp_path, source):
    assert print_of(tmp_path / "a", source) == print_of(tmp_path / "b" / "c", source)
    if "words.txt" in source:
        other = source.replace("words.txt", "others.txt")
        assert print_of(tmp_path / "a", other) != print_of(tmp_path / "a", source)


def test_others_count_by_their_version(tmp_path, monkeypatch):
    using = "import numpy as np\n@slicing_function()\ndef s(x): return np.abs(x.n) > 1"
    helper = (
        "@slicing_function()\ndef s(x):\n    import numpy.linalg as la\n    return la.norm(x.v)"
    )
    series = "import pandas as pd\n@slicing_function()\ndef s(n: pd.Series): return n > 1"
    plain = "import math\n@slicing_function()\ndef s(x): return math.sqrt(x.n) > 1"
    sources = [using, helper, series, plain]
    before = [print_of(tmp_path, source) for source in sources]
    version = importlib.metadata.version
    monkeypatch.setattr(
        importlib.metadata,
        "version",
        lambda n: "99" if n in {"numpy", "pandas"} else version(n),
    )
    version_of.cache_clear()
    after = [print_of(tmp_path, source) for source in sources]
    version_of.cache_clear()
    assert [a == b for a, b in zip(before, after, strict=True)] == [False, False, False, True]


def test_a_number_raised_by_hand_changes_every_fingerprint(monkeypatch):
    sf = SlicingFunction("s", lambda x: x.n > 1)
    before = fingerprint(sf)
    monkeypatch.setattr(identity, "MEANING", 10**6)
    assert fingerprint(sf) != before


def test_deep_and_large_values():
    deep: list[object] = []
    for _ in range(20_000):
        deep = [deep]
    wide = np.zeros(100_000_000, np.uint8)
    texts = [str(i) for i in range(100_000)]
    started = time.process_time()
    prints = set()
    for changed in (None, wide, texts):
        if changed is wide:
            wide[77] = 1
        if changed is texts:
            texts[77] = "other"
        given = {"deep": deep, "wide": wide, "texts": texts}
        prints.add(fingerprint(SlicingFunction("s", lambda x, deep, wide, texts: 1, given)))
    assert len(prints) == 3
    assert time.process_time() - started < 20


def test_long_sums_and_long_chains_of_helpers(tmp_path):
    total = " + ".join(["x.n"] * 2_000)
    helpers = "".join(f"def h{i}(n): return h{i + 1}(n)\n" for i in range(1_500))
    source = f"{helpers}def h1500(n): return n\n@slicing_function()\ndef s(x): return h0({total})"
    source += " > <<1||2>>"
    assert print_of(tmp_path, edited(source, 1)) != print_of(tmp_path, edited(source, 2))


def test_a_thousand_slices_take_about_a_second(tmp_path):
    source = "WORDS = ['a', 'b']\ndef helper(t): return len(t) > 3\n" + "".join(
        f"@slicing_function()\ndef s{i}(x): return helper(x.t) or any(w in x.t for w in WORDS)\n"
        for i in range(1_000)
    )
    with project(tmp_path / "v", source + "s = SlicingFunction('s', s0)"):
        sfs = load_slices(str(tmp_path / "v" / "slices.py"))
        started = time.process_time()
        prints = {fingerprint(sf) for sf in sfs}
        assert time.process_time() - started < 5
    assert len(prints) == 1_001


@pytest.mark.parametrize("version", [1.5, True, [1], b"1"])
def test_a_version_is_text_or_a_whole_number(version):
    wanted = (
        f"slice 's': the version {version!r} is a {type(version).__name__}; give text or a whole "
        "number, such as version=2"
    )
    for make in (
        lambda: SlicingFunction("s", len, version=version),
        lambda: slicing_function(name="s", version=version)(lambda x: x),
        lambda: where("s", "n > 1", version=version),
    ):
        with pytest.raises(SliceError) as caught:
            make()
        assert str(caught.value) == wanted
    with pytest.raises(SliceError) as caught:
        preprocessor(name="p", version=version)(lambda x: x)
    assert str(caught.value) == wanted.replace("slice 's'", "preprocessor 'p'")


def test_a_version_stays_with_another_name():
    one, other = (where("s", "n > 1", version=v).named("t") for v in (1, 2))
    assert fingerprint(one) != fingerprint(other)
    assert fingerprint(one) == fingerprint(where("s", "n > 1", version=1))


def test_explain_says_why_a_slice_is_labelled_again():
    lock = threading.Lock()
    guarded = SlicingFunction("guarded", lambda x, lock: x.n > 1, {"lock": lock})
    plan = compile_slices([guarded, where("known", "n > 1")], pa.schema([("n", pa.int64())]))
    assert [line for line in str(plan.explain()).splitlines() if line.startswith("note")] == [
        "note: slice 'guarded' uses lock, a _thread.lock, whose contents can't be read: "
        "it can't be known to be the same, so every run labels it again"
    ]
