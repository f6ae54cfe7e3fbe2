"""What README and docs say must run as written."""

import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PAGES = [ROOT / p for p in ("README.md", "docs/slicing-functions.md", "docs/classifier.md")]
ONE_SCRIPT = [ROOT / "docs/evaluation.md"]  # pages whose examples follow from each other
BLOCK = re.compile(r"^```(\w+)\n(.*?)^```", re.MULTILINE | re.DOTALL)

# Commands that can't run inside the tests, with what runs them instead.
ELSEWHERE = {
    "make test": "this is it",
    "make lint types contracts": ".ci/run",
}


def blocks(page, language):
    return [text for kind, text in BLOCK.findall(page.read_text()) if kind == language]


def example(text, name):
    """Return a case; one that starts Spark has a JVM of its own."""
    marks = (pytest.mark.slow, pytest.mark.spark) if "spark" in text else ()
    return pytest.param(text, id=name, marks=marks)


PYTHON = [
    example(text, f"{page.name}-{i}")
    for page in PAGES
    for i, text in enumerate(blocks(page, "python"))
]
PYTHON += [example("\n".join(blocks(page, "python")), page.name) for page in ONE_SCRIPT]
COMMANDS = [line for text in blocks(ROOT / "README.md", "bash") for line in text.splitlines()]


def test_the_readme_has_an_example_of_about_20_lines_and_the_two_commands():
    (example,) = blocks(ROOT / "README.md", "python")
    assert 15 <= len([line for line in example.splitlines() if line.strip()]) <= 25
    assert COMMANDS[:2] == ["make demo", "make test"]


@pytest.mark.parametrize("text", PYTHON)
def test_python_examples_run(text, tmp_path):
    script = tmp_path / "example.py"
    script.write_text(text)
    ran = subprocess.run(
        [sys.executable, script], capture_output=True, text=True, cwd=tmp_path, check=False
    )
    assert ran.returncode == 0, ran.stderr


@pytest.mark.slow
@pytest.mark.spark
def test_commands_run_in_the_order_given():
    for command in COMMANDS:
        if command in ELSEWHERE:
            continue
        ran = subprocess.run(
            command, shell=True, capture_output=True, text=True, cwd=ROOT, check=False
        )
        assert ran.returncode == 0, f"{command}\n{ran.stdout}\n{ran.stderr}"


def test_the_package_that_the_readme_names_is_the_one_installed():
    from engine.storage.session import delta_package

    assert f"--packages {delta_package()} " in (ROOT / "README.md").read_text()
