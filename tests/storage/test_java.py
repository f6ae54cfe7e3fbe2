"""The Java check, against fake java executables and made-up systems."""

from __future__ import annotations

import os
import platform
import subprocess
import sys
from pathlib import Path

import pytest

from engine.errors import SetupError
from engine.storage import java
from engine.storage.java import check_java, install_command, main, system_names

APT = "sudo apt-get install openjdk-17-jre-headless"
ROOT = Path(__file__).parents[2]


@pytest.fixture(autouse=True)
def debian_without_java(monkeypatch, tmp_path):
    monkeypatch.setattr(java, "system_names", lambda: ["debian 12", "debian", "Linux"])
    monkeypatch.delenv("JAVA_HOME", raising=False)
    monkeypatch.setenv("PATH", str(tmp_path / "bin"))


def fake_java(folder: Path, *lines: str, code: int = 0) -> Path:
    executable = folder / "bin" / "java"
    executable.parent.mkdir(parents=True)
    echoes = "".join(f"echo '{line}' >&2\n" for line in lines)
    executable.write_text(f"#!/bin/sh\n{echoes}exit {code}\n")
    executable.chmod(0o755)
    return executable


@pytest.mark.parametrize(
    ("line", "version"),
    [
        ('openjdk version "17.0.15" 2025-04-15', 17),
        ('openjdk version "18-ea" 2022-03-22', 18),
        ('java version "21" 2023-09-19 LTS', 21),
    ],
)
def test_a_usable_java_on_path_gives_its_version(tmp_path, line, version):
    fake_java(tmp_path, "Picked up JAVA_TOOL_OPTIONS: -Xmx1g", line, "OpenJDK Runtime Environment")
    assert check_java() == version


def test_java_home_comes_before_path(tmp_path, monkeypatch):
    fake_java(tmp_path, 'openjdk version "17.0.1"')
    fake_java(tmp_path / "jdk", 'openjdk version "21.0.1"')
    monkeypatch.setenv("JAVA_HOME", str(tmp_path / "jdk"))
    assert check_java() == 21


def test_an_empty_java_home_counts_as_unset(tmp_path, monkeypatch):
    fake_java(tmp_path, 'openjdk version "17.0.1"')
    monkeypatch.setenv("JAVA_HOME", "")
    assert check_java() == 17


def test_no_java():
    with pytest.raises(SetupError) as caught:
        check_java()
    assert str(caught.value) == (
        "Spark needs Java 17 or 21, and JAVA_HOME is not set and there is no java on PATH: "
        f"install one with `{APT}`"
    )


def test_java_home_without_java(tmp_path, monkeypatch):
    fake_java(tmp_path, 'openjdk version "17.0.1"')  # Spark would not look at this one
    monkeypatch.setenv("JAVA_HOME", "/opt/gone")
    with pytest.raises(SetupError) as caught:
        check_java()
    assert str(caught.value) == (
        "Spark needs Java 17 or 21, and JAVA_HOME is '/opt/gone', which has no bin/java: correct "
        f"or unset it, or install one with `{APT}`"
    )


@pytest.mark.parametrize(
    ("line", "found"),
    [
        ('java version "1.8.0_392"', "is version 8"),
        ('openjdk version "16.0.2" 2021-07-20', "is version 16"),
        ('openjdk version "22.0.1" 2024-04-16', "is version 22"),
        ("something else", "does not run"),
    ],
)
def test_a_java_that_spark_cannot_use(tmp_path, line, found):
    executable = fake_java(tmp_path, line)
    with pytest.raises(SetupError) as caught:
        check_java()
    assert str(caught.value) == (
        f"Spark needs Java 17 or 21, and {executable} {found}: install one with `{APT}`, "
        "and set JAVA_HOME to its folder"
    )


def test_a_java_that_fails(tmp_path):
    # macOS has such a stub at /usr/bin/java.
    executable = fake_java(tmp_path, "Unable to locate a Java Runtime.", code=1)
    with pytest.raises(SetupError, match=f"{executable} does not run: install one"):
        check_java()


@pytest.mark.parametrize(
    ("names", "command"),
    [
        (["ubuntu 24.04", "ubuntu", "debian", "Linux"], APT),
        (["debian 13", "debian", "Linux"], "sudo apt-get install openjdk-21-jre-headless"),
        (["rocky 9", "rocky", "rhel", "centos", "fedora", "Linux"], java._INSTALL["rhel"]),
        (["fedora 42", "fedora", "Linux"], "sudo dnf install java-21-openjdk-headless"),
        (["amzn 2023", "amzn", "fedora", "Linux"], java._INSTALL["amzn"]),
        (["alpine 3.20", "alpine", "Linux"], "sudo apk add openjdk17-jre-headless"),
        (["Darwin"], "brew install --cask temurin@17"),
        (["Windows"], "winget install EclipseAdoptium.Temurin.17.JRE"),
        (["Linux"], "your package manager (a package such as openjdk-17-jre-headless)"),
    ],
)
def test_the_install_command_is_the_systems_own(names, command):
    assert install_command(names) == command


def test_system_names_on_linux(monkeypatch):
    release = {"ID": "linuxmint", "VERSION_ID": "22", "ID_LIKE": "ubuntu debian"}
    monkeypatch.setattr(platform, "system", lambda: "Linux")
    monkeypatch.setattr(platform, "freedesktop_os_release", lambda: release)
    assert system_names() == ["linuxmint 22", "linuxmint", "ubuntu", "debian", "Linux"]


def test_system_names_on_a_linux_that_does_not_say(monkeypatch):
    def nothing():
        raise OSError

    monkeypatch.setattr(platform, "system", lambda: "Linux")
    monkeypatch.setattr(platform, "freedesktop_os_release", nothing)
    assert system_names() == ["Linux"]


def test_system_names_elsewhere(monkeypatch):
    monkeypatch.setattr(platform, "system", lambda: "Darwin")
    assert system_names() == ["Darwin"]


def test_main_prints_one_sentence(capsys):
    assert main() == 1
    out, err = capsys.readouterr()
    assert (out, err.count("\n"), err[:28]) == ("", 1, "Spark needs Java 17 or 21, a")


def test_main_is_silent_when_java_is_fine(tmp_path, capsys):
    fake_java(tmp_path, 'openjdk version "17.0.1"')
    assert main() == 0
    assert capsys.readouterr() == ("", "")


def test_it_runs_with_the_standard_library_alone():
    # -I and -S leave out site-packages and whatever else isn't the standard library.
    code = (
        "import sys; sys.path.append(sys.argv[1])\n"
        "from engine.storage import java; sys.exit(java.main())"
    )
    ran = subprocess.run(
        [sys.executable, "-I", "-S", "-c", code, str(ROOT)],
        env={**os.environ, "PATH": ""},
        capture_output=True,
        text=True,
        check=False,
    )
    assert (ran.returncode, ran.stdout) == (1, "")
    assert ran.stderr.startswith("Spark needs Java 17 or 21, and JAVA_HOME is not set")
    assert ran.stderr.count("\n") == 1
