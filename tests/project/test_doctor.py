"""What the doctor says of machines that lack something."""

from __future__ import annotations

import pytest

from engine.errors import SetupError
from engine.project import doctor
from jobs.__main__ import main


def lines(**more):
    return {f.about: str(f) for f in doctor.examined(**more)}


def test_a_machine_that_has_all(tmp_path, capsys):
    assert main(["doctor", "--root", str(tmp_path / "new" / "audit")]) == 0
    out = capsys.readouterr().out.splitlines()
    assert [line[5:17].strip() for line in out] == [
        "Python", "Java", "Spark", "Delta Lake", "torch", "scikit-learn", "spacy", "memory",
        "scratch", "root",
    ]  # fmt: skip
    assert all(line.startswith(("ok  ", "note")) for line in out)


def test_no_java(monkeypatch, capsys):
    def none():
        raise SetupError("Spark needs Java 17 or 21: install it")

    monkeypatch.setattr(doctor, "check_java", none)
    assert lines()["Java"] == (
        "FAIL Java         none that Spark can use: Spark needs Java 17 or 21: install it"
    )
    assert main(["doctor"]) == 2


@pytest.mark.parametrize(
    ("versions", "line"),
    [
        ({"delta-spark": "4.0.1"}, "FAIL versions     Delta Lake 4.0.1 with Spark 4.1.1: "
                                   "pip install 'delta-spark==4.3.*'"),
        ({"pyspark": "3.5.1"}, "note versions     Spark 3.5.1: 4.1 was tried"),
        ({"pyspark": None}, "FAIL Spark        none: pip install slice-engine"),
        ({"torch": None}, "note torch        none: models need it: pip install "
                          "'slice-engine[train]'"),
        ({"spacy": None}, "note spacy        none: parsed texts need it: pip install "
                          "'slice-engine[nlp]'"),
    ],
)  # fmt: skip
def test_versions(monkeypatch, versions, line):
    known = {"pyspark": "4.1.1", "delta-spark": "4.3.1"} | versions
    monkeypatch.setattr(doctor, "_version", lambda name: known.get(name, "1.0"))
    assert line in lines().values()


def test_folders_and_workers(monkeypatch, tmp_path):
    monkeypatch.setenv("SPARK_LOCAL_DIRS", str(tmp_path))
    monkeypatch.setenv("PYSPARK_PYTHON", "/no/python")
    monkeypatch.setattr(doctor.os, "access", lambda folder, _: folder != tmp_path)
    shown = lines(root="s3://bucket/audit")
    assert shown["workers"] == (
        "FAIL workers      PYSPARK_PYTHON is '/no/python': no such program: unset it"
    )
    assert shown["scratch"] == (
        f"FAIL scratch      {tmp_path}: {tmp_path} can't be written: choose another"
    )
    assert "root" not in shown


def test_little_memory_and_disk(monkeypatch):
    monkeypatch.setattr(doctor, "_LEAST_MEMORY", 10**6)
    monkeypatch.setattr(doctor, "_LEAST_DISK", 10**9)
    shown = lines()
    assert shown["memory"].startswith("note memory")
    assert shown["memory"].endswith(
        "less than 1000000 GiB: set spark.driver.memory in the project file's spark:"
    )
    assert shown["scratch"].endswith("GiB free: make room")
