"""SF modules: found by name or path, and what is said of one that can't be used."""

from __future__ import annotations

import os
import random
import subprocess
import sys

import pytest

import engine
from engine.errors import InputError, SliceError
from engine.slicing.discovery import load_slices

GOOD = """
from engine import SlicingFunction, slicing_function, where

@slicing_function()
def first(x):
    return x.n > 1

more = [where("second", "n > 2"), where("third", "n > 3")]
pair = (SlicingFunction("fourth", len), first)
again = first
number = 7
"""


@pytest.fixture(autouse=True)
def clean(monkeypatch):
    """Leave no module and no folder behind."""
    monkeypatch.setattr(sys, "path", [*sys.path])
    before = dict(sys.modules)
    yield
    for name in set(sys.modules) - set(before):
        del sys.modules[name]


def names(slices):
    return [sf.name for sf in slices]


def test_by_dotted_name_in_the_order_they_are_defined():
    assert names(load_slices("sfs.spam"))[:2] == ["short_link", "keyword_subscribe"]


def test_by_path_and_in_lists_and_tuples_each_once(tmp_path):
    (tmp_path / "mine.py").write_text(GOOD)
    assert names(load_slices(str(tmp_path / "mine.py"))) == ["first", "second", "third", "fourth"]


def test_a_path_is_looked_for_in_the_folders_given(tmp_path):
    (tmp_path / "slices").mkdir()
    (tmp_path / "slices" / "mine.py").write_text(GOOD)
    assert load_slices("slices/mine.py", [tmp_path / "nowhere", tmp_path])


def test_a_name_is_looked_for_in_the_folders_given(tmp_path):
    package = tmp_path / "my_slices"
    package.mkdir()
    (package / "__init__.py").write_text("")
    (package / "neighbour.py").write_text("LEAST = 1\n")
    (package / "mine.py").write_text("from my_slices.neighbour import LEAST\n" + GOOD)
    assert len(load_slices("my_slices.mine", [tmp_path])) == 4


def test_a_file_is_loaded_once(tmp_path):
    (tmp_path / "mine.py").write_text(GOOD)
    one, two = (load_slices("mine.py", [tmp_path]) for _ in range(2))
    assert one == two


def test_files_of_one_name_in_two_folders_are_two_modules(tmp_path):
    for folder in ("a", "b"):
        (tmp_path / folder).mkdir()
        text = f"from engine import where\n{folder} = where('{folder}', 'true')\n"
        (tmp_path / folder / "mine.py").write_text(text)
    loaded = [load_slices(str(tmp_path / f / "mine.py")) for f in ("a", "b", "a")]
    assert [names(slices) for slices in loaded] == [["a"], ["b"], ["a"]]
    assert loaded[0] == loaded[2]


def test_a_file_called_like_a_module_of_python_does_not_replace_it(tmp_path):
    (tmp_path / "random.py").write_text(GOOD)
    assert len(load_slices(str(tmp_path / "random.py"))) == 4
    assert sys.modules["random"] is random


BAD = {
    "syntax.py": ("x = 1\ndef f(:\n", "SyntaxError: invalid syntax (syntax.py:2)"),
    "indent.py": (
        "def f():\nx = 1\n",
        "SyntaxError: expected an indented block after function definition on line 1 (indent.py:2)",
    ),
    "absent.py": (
        "import re\nimport no_such_module\n",
        "ModuleNotFoundError: No module named 'no_such_module' (absent.py:2)",
    ),
    "name.py": (
        "\n\nfrom engine import slicing_functoin\n",
        "ImportError: cannot import name 'slicing_functoin' from 'engine' ({engine}) (name.py:3)",
    ),
    "raises.py": (
        "def g():\n    raise ValueError('bad words')\n\ng()\n",
        "ValueError: bad words (raises.py:2)",
    ),
    "leaves.py": ("import sys\nsys.exit(3)\n", "it called sys.exit(3) (leaves.py:2){guard}"),
    "succeeds.py": ("import sys\nsys.exit(0)\n", "it called sys.exit(0) (succeeds.py:2){guard}"),
    "quits.py": ("quit()\n", "it called sys.exit(None) (quits.py:1){guard}"),
    "at_once.py": ("import os\nos._exit(0)\n", "it called os._exit(0) (at_once.py:2){guard}"),
    "becomes.py": (
        "import os\nos.execv('/bin/true', ['true'])\n",
        "it called os.execv('/bin/true') (becomes.py:2){guard}",
    ),
    "aborts.py": ("import os\nos.abort()\n", "it called os.abort() (aborts.py:2){guard}"),
    "interrupts.py": (
        "raise KeyboardInterrupt\n",
        "KeyboardInterrupt:  (interrupts.py:1)",
    ),
    "generator.py": ("raise GeneratorExit('x')\n", "GeneratorExit: x (generator.py:1)"),
    "mute.py": (
        "class Mute(Exception):\n    def __str__(self):\n        raise self\n"
        "    __repr__ = __str__\nraise Mute\n",
        "Mute: (what it says can't be told) (mute.py:5)",
    ),
    "endless.py": (
        "def f():\n    f()\nf()\n",
        "RecursionError: maximum recursion depth exceeded (endless.py:2)",
    ),
    "argues.py": (
        "import argparse\nparser = argparse.ArgumentParser()\nparser.add_argument('data')\n"
        "parser.parse_args()\n",
        "it called sys.exit(2) (argues.py:4){guard}",
    ),
    "library.py": (
        "import json\njson.loads('[')\n",
        "JSONDecodeError: Expecting value: line 1 column 2 (char 1) (library.py:2)",
    ),
    "decorator.py": (
        "from engine import slicing_function\n@slicing_function\ndef f(x):\n    return True\n",
        "SliceError: @slicing_function on f needs parentheses: write "
        "@slicing_function() (decorator.py:2)",
    ),
}


GUARD = '; what runs as a script belongs under `if __name__ == "__main__":`'


@pytest.mark.parametrize(("name", "text", "cause"), [(n, *b) for n, b in BAD.items()], ids=BAD)
def test_a_module_that_does_not_import(tmp_path, name, text, cause):
    file = tmp_path / name
    file.write_text(text)
    with pytest.raises(InputError) as caught:
        load_slices(str(file))
    told = cause.format(engine=engine.__file__, guard=GUARD)
    assert str(caught.value) == f"the module {str(file)!r} can't be imported: {told}"
    assert isinstance(caught.value, ValueError)
    assert file.stem not in sys.modules


@pytest.mark.parametrize(
    ("module", "cause"),
    [
        ("no_such_module", "ModuleNotFoundError: No module named 'no_such_module'"),
        ("sfs.spma", "ModuleNotFoundError: No module named 'sfs.spma'"),
        ("no/such.py", "FileNotFoundError: there is no file no/such.py"),
    ],
)
def test_a_module_that_is_not_there(module, cause):
    with pytest.raises(InputError) as caught:
        load_slices(module)
    assert (
        str(caught.value).partition(";")[0] == f"the module {module!r} can't be imported: {cause}"
    )


def test_a_module_without_a_slicing_function(tmp_path):
    (tmp_path / "empty.py").write_text("def f(x):\n    return True\n")
    with pytest.raises(SliceError) as caught:
        load_slices("empty.py", [tmp_path])
    assert str(caught.value) == (
        "'empty.py' has no slicing function; write one with @slicing_function() at the top level "
        "of the module"
    )


def test_a_module_speaks_for_itself(tmp_path, monkeypatch, capsys):
    """Its parser sees no argument of the job, and its output isn't the job's."""
    text = (
        "import argparse, os\nimport sys\nfrom engine import where\nprint('loading')\n"
        "arguments = argparse.ArgumentParser().parse_args()\nprogram = sys.argv[0]\n"
        "os.chdir('/')\none = where(program, 'true')\n"
    )
    (tmp_path / "own.py").write_text(text)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "argv", ["label_slices", "--project", "p.yaml"])
    assert names(load_slices("own.py", [tmp_path])) == ["own.py"]
    assert sys.argv == ["label_slices", "--project", "p.yaml"]
    assert os.getcwd() == str(tmp_path)
    out = capsys.readouterr()
    assert (out.out, out.err) == ("", "loading\n")


CLOSES = """
import os, sys
from engine.errors import InputError
from engine.slicing.discovery import load_slices
try:
    load_slices(sys.argv[1])
except InputError as error:
    print(error)
    print("heard", file=sys.stderr)
"""


@pytest.mark.parametrize(
    ("text", "what"),
    [
        ("import os\nos.close(1)\n", "standard output"),
        ("import os\nos.closerange(1, 3)\n", "standard output"),
        ("import sys\nsys.stderr.close()\n", "standard error"),
        ("import sys\nsys.__stdout__.close()\n", "standard output"),
    ],
)
def test_a_module_that_closes_a_stream_is_named_on_it(tmp_path, text, what):
    (tmp_path / "closes.py").write_text(text)
    path = str(tmp_path / "closes.py")
    done = subprocess.run(
        [sys.executable, "-c", CLOSES, path], capture_output=True, text=True, check=False
    )
    assert done.stdout == f"the module {path!r} can't be imported: it closed {what}\n"
    assert (done.stderr, done.returncode) == ("heard\n", 0)


def test_objects_that_refuse_to_be_asked_are_no_slices(tmp_path):
    text = (
        "class Shy:\n    @property\n    def __class__(self):\n        raise SystemExit(0)\n"
        "shy = Shy()\nmany = [shy]\n"
    )
    (tmp_path / "shy.py").write_text(GOOD + text)
    assert len(load_slices("shy.py", [tmp_path])) == 4
