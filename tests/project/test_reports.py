"""The files of a project's reports, and what is said of slices in them."""

import datetime as dt
from types import SimpleNamespace

import pytest

from engine.project.load import load_project
from engine.project.reports import Report, Reports
from engine.project.slice_texts import functions_of, slice_texts
from engine.report.archive import Archive
from engine.report.sections import Section

NIGHT = dt.datetime(2026, 12, 1, 3, 41, 55, tzinfo=dt.UTC)
MODULE = """
@slicing_function()
def short(x):
    return len(x.text) < 20

def has(x, words):
    return any(w in x.text for w in words)

@slicing_function(name="Loud ones", pre=[upper])
def shouting(x):
    return x.text.isupper()

please = SlicingFunction(name="please", f=has, resources={"words": ["please"]})
many = [make(n) for n in range(3)]
"""


@pytest.fixture
def reports(tmp_path):
    file = tmp_path / "project.yaml"
    file.write_text(
        f"name: spam\nroot: {tmp_path / 'out'}\nsource: {{table: s}}\nkey: id\nsf_modules: [m]\n"
        "report: {keep: 3}\n"
    )
    return Reports(load_project(file))


def report(key: str, models: str = "a, b") -> Report:
    about = {"date": f"night of {key}", "models": models, "verdict": f"verdict of {key}"}
    return Report(f"<p>{key}</p>", Archive(key, about, [Section(key, ["n"], [[1]])]))


def test_reports_of_other_models_stand_beside_each_other_and_the_newest_has_one_name(reports):
    two = reports.write(report("k1"), NIGHT)
    one = reports.write(report("k2", "a"), NIGHT + dt.timedelta(minutes=1))
    assert [f.own.name for f in (two, one)] == [
        "20261201-034155-a_b-k1.html",
        "20261201-034255-a-k2.html",
    ]
    assert str(one) == f"{one.newest} ({one.own})"
    assert (two.own.read_text(), one.own.read_text()) == ("<p>k1</p>", "<p>k2</p>")
    assert one.newest == reports.project.file("report.html")
    assert one.newest.read_text() == "<p>k2</p>"
    index = (one.own.parent / "index.html").read_text()
    assert index.index("verdict of k2") < index.index("verdict of k1")
    assert "href='20261201-034155-a_b-k1.html'" in index
    files, archive = reports.find("k1")
    assert (files, archive) == (two, report("k1").archive)
    reports.show(files)
    assert one.newest.read_text() == "<p>k1</p>"
    assert reports.find("k3") is None


def test_a_report_of_the_same_replaces_the_one_before_and_the_oldest_go(reports):
    first = reports.write(report("k1"), NIGHT)
    again = reports.write(report("k1"), NIGHT + dt.timedelta(hours=1))
    assert not first.own.exists()
    for i in range(2, 5):
        reports.write(report(f"k{i}"), NIGHT + dt.timedelta(days=i))
    assert not again.own.exists()
    pages = sorted(p.name for p in again.own.parent.iterdir())
    assert [p[-7:] for p in pages] == ["k2.html", "k3.html", "k4.html", "ex.html"]
    assert reports.find("k1") is None


def test_a_folder_of_an_earlier_version_goes_on(reports):
    old = reports.project.file("report.json")
    old.parent.mkdir(parents=True)
    old.write_text('{"format": 1, "key": "k1", "sections": []}')
    reports.project.file("report.html").write_text("old")
    assert reports.find("k1") is None
    new = reports.write(report("k1"), NIGHT)
    assert new.newest.read_text() == "<p>k1</p>"
    assert not old.exists()
    # A page that someone deleted is no report, an archive cut short is none.
    new.own.unlink()
    assert reports.find("k1") is None
    archive = next(reports.project.file("report_archive").iterdir())
    again = reports.write(report("k1"), NIGHT)
    archive.write_text(archive.read_text()[:-9])
    assert reports.find("k1") is None
    archive.write_text("cut")
    reports.write(report("k2"), NIGHT)
    assert again.own.name not in (again.own.parent / "index.html").read_text()


def test_slices_have_names_sources_and_the_columns_of_values(tmp_path, spark):
    (tmp_path / "m.py").write_text(MODULE)
    (tmp_path / "broken.py").write_text("def (")
    file = tmp_path / "project.yaml"
    file.write_text(
        f"name: spam\nroot: {tmp_path / 'out'}\nsource: {{table: s}}\nkey: id\n"
        "sf_modules: [m, broken.py, not_there]\nslices:\n"
        "  - {name: Old ones, where: age > 80}\n  - {name: twice, where: both & ~short}\n"
        "  - {name: both, where: short & sex_f}\n"
        "  - {name: vips, lookup: {column: id, keys: [1, 2]}}\n"
    )
    pin = '{"by": ["sex"], "is": "value", "position": 0, "values": ["F"]}'
    rows = [
        ("short", "short", "Few letters.", "row", None),
        ("old_ones", "Old ones", None, "sql", None),
        ("sex_f", "sex=F", "", "sql", pin), ("both", "both", "", "expression", None),
        ("vips", "vips", "", "expression", None),
    ]  # fmt: skip
    schema = "id string, name string, description string, kind string, definition string"
    catalogue = SimpleNamespace(df=spark.createDataFrame(rows, schema))
    texts, columns = slice_texts(load_project(file), catalogue, [tmp_path])
    assert texts["short"].description == "Few letters."
    assert texts["short"].kind == "a Python function of a row"
    assert texts["short"].source.startswith("@slicing_function()\ndef short")
    assert {s: t.source for s, t in texts.items() if s != "short"} == {
        "old_ones": "age > 80", "sex_f": "sex = 'F'", "both": "short & sex_f",
        "vips": "id is in 2 keys of the project file",
    }  # fmt: skip
    assert columns == {"sex_f": ("sex",), "both": ["sex"], "twice": ["sex"]}
    assert slice_texts(load_project(file), None) == ({}, {})


def test_sources_are_read_and_never_run():
    sources = functions_of(MODULE)
    assert set(sources) == {"short", "has", "loud_ones", "please"}
    assert sources["short"].startswith("@slicing_function()\ndef short(x):\n")
    assert sources["loud_ones"].endswith("return x.text.isupper()")
    assert sources["please"].startswith("def has(x, words):")
    assert sources["please"].endswith('resources={"words": ["please"]})')
