"""label_slices with compositions, slices by value and look-ups, end to end."""

from __future__ import annotations

import json

import pytest

from engine.masks.reader import read_masks

SCHEMA = "id int, text string, country string, customer bigint"
ROWS = [
    (1, "a", "US", 10),
    (2, "abcd", "US", 11),
    (3, None, "DE", None),
    (4, "b", "us", 12),
    (5, "abcde", None, 10),
    (6, "c", "US", 13),
]
SHORT = {"name": "short", "where": "length(text) < 3"}


def ids_of(bench, slice_id: str) -> set[int]:
    return {key for key, row in bench.masks().items() if row[slice_id]}


def catalogue(bench) -> dict[str, dict]:
    return {r["id"]: r for r in bench.read(bench.place("slices"))}


def test_all_in_one_run(bench, spark):
    bench.rows(ROWS, SCHEMA)
    bench.write(
        spark.createDataFrame([(10,), (13,), (10,), (None,)], "key bigint"),
        str(bench.folder / "vips"),
    )
    module = bench.module(
        "from engine import by\n"
        "@slicing_function()\ndef ends_in_d(x):\n    return x.text.endswith('d')\n"
        "either = (ends_in_d | ~ends_in_d).named('Decided!')\n"
        "first = by('id', [1, 2], other=False)\n"
    )
    keys = {"column": "customer", "table": str(bench.folder / "vips"), "key_column": "key"}
    slices = [
        {"name": "both", "where": "short & ~vip", "description": "Short, of nobody special"},
        SHORT,
        {"name": "vip", "lookup": keys},
        {"name": "few", "lookup": {"column": "customer", "keys": [11, 12]}},
        {"name": "home", "where": "(country_us | both) & few"},
    ]  # fmt: skip
    project = bench.project(
        sf_modules=[module], slices=slices, by=[{"column": "country", "top": 1}]
    )
    out = bench.done("label_slices", project)
    assert (
        "by country: the 1 most frequent of 3 values have a slice (top: 1); 2 others, 2 rows or "
        "40.0%, are in 'country=(other)'"
    ) in out
    masks = bench.masks()
    assert list(masks[1]) == [
        "ends_in_d", "decided", "id_1", "id_2", "id_null", "short", "vip", "few", "both", "home",
        "country_us", "country_null", "country_other",
    ]  # fmt: skip
    wanted = {
        "ends_in_d": [False, True, None, False, False, False],
        "decided": [True, True, None, True, True, True],
        "id_1": [True, False, False, False, False, False],
        "id_null": [False] * 6,
        "vip": [True, False, None, False, True, True],
        "few": [False, True, None, True, False, False],
        "both": [False, False, None, True, False, False],
        "home": [False, True, None, True, False, False],
        "country_us": [True, True, False, False, False, True],
        "country_null": [False, False, False, False, True, False],
        "country_other": [False, False, True, True, False, False],
    }
    assert {s: [masks[i][s] for i in range(1, 7)] for s in wanted} == wanted

    kept = catalogue(bench)
    assert (kept["country_us"]["name"], kept["country_us"]["kind"]) == ("country=US", "expression")
    assert json.loads(kept["country_us"]["definition"]) == {
        "by": ["country"], "is": "value", "values": ["US"], "position": 0,
    }  # fmt: skip
    assert kept["both"]["description"] == "Short, of nobody special"
    assert kept["short"]["definition"] is None
    assert kept["id_1"]["definition"] is None  # a module's own, which need no pin

    versions = bench.versions()
    again = bench.done("label_slices", project)
    assert f"unchanged {bench.place('masks')} version 0" in again
    assert "most frequent" not in again
    assert bench.versions() == versions


def test_values_are_pinned_and_added_on_request(bench, spark):
    bench.rows(ROWS, SCHEMA)
    project = bench.project(by=[{"column": "country", "top": 2}], slices=[SHORT])
    bench.done("label_slices", project)
    first = catalogue(bench)
    # US three times, then DE before us, which are equally frequent
    assert sorted(first) == ["country_de", "country_null", "country_other", "country_us", "short"]

    new = [(i, "x", country, 1) for i, country in enumerate(["FR"] * 9 + ["us"] * 8, start=100)]
    bench.write(spark.createDataFrame(new, SCHEMA), bench.source, mode="append")
    bench.done("label_slices", project)
    assert set(catalogue(bench)) == set(first)
    assert len(ids_of(bench, "country_other")) == 18
    prints = {i: r["fingerprint"] for i, r in catalogue(bench).items()}
    assert prints == {i: r["fingerprint"] for i, r in first.items()}

    out = bench.done("label_slices", project, "--repin")
    assert (
        "by country: the 2 most frequent of 4 values and those pinned before have a slice (top: "
        "2); 2 others, 4 rows or 18.2%, are in 'country=(other)'"
    ) in out
    later = catalogue(bench)
    (second,) = set(later) - set(first) - {"country_fr"}
    assert second.startswith("country_us_")
    assert later[second]["name"] == "country=us"
    assert len(ids_of(bench, "country_fr")) == 9
    assert ids_of(bench, "country_other") == set()
    assert later["country_us"]["fingerprint"] == first["country_us"]["fingerprint"]
    versions = bench.versions()
    bench.done("label_slices", project)
    assert bench.versions() == versions


@pytest.mark.parametrize("layout", ["boolean", "packed"])
def test_a_value_that_leaves_the_top_leaves_with_its_masks(bench, layout):
    bench.rows(ROWS, SCHEMA)

    def labelled(values: list[str]) -> tuple[str, dict[str, list[bool]]]:
        module = bench.module(
            f"from engine import by\nslices = by('text', {values!r}, top=2)\n"
            "either = (slices[0] | slices[1]).named('either')\n"
        )
        given = {"sf_modules": [module], "slices": [SHORT], "layout": layout}
        out = bench.done("label_slices", bench.project(**given))
        stored = read_masks(bench.spark.read.format("delta").load(bench.place("masks")))
        found = stored.df.select("id", *stored.masks(stored.ids)).orderBy("id").collect()
        return out, {s: [r[s] for r in found] for s in stored.ids}

    _, masks = labelled(["a", "a", "b"])
    assert sorted(masks) == ["either", "short", "text_a", "text_b", "text_null", "text_other"]
    assert masks["text_other"] == [False, True, False, False, True, True]
    # b drops out, and c comes in.
    again, masks = labelled(["a", "c", "c", "b"])
    assert sorted(masks) == ["either", "short", "text_a", "text_c", "text_null", "text_other"]
    assert masks["text_c"] == [False, False, False, False, False, True]
    assert masks["text_other"] == [False, True, False, True, True, False]
    assert masks["either"] == [True, False, False, False, False, True]
    assert "text_b" not in again.partition("Coverage of")[2]
    coverage = bench.read(bench.place("coverage"))
    counts = {(r["mask_version"], r["slice"]): r["n_in"] for r in coverage}
    assert counts["0", "text_b"] == 1
    assert ("1", "text_b") not in counts
    assert (counts["1", "text_c"], counts["1", "text_other"]) == (1, 3)
    # It comes back as what it was.
    _, masks = labelled(["a", "a", "b"])
    assert masks["text_b"] == [False, False, False, True, False, False]
    assert "text_c" not in masks


def test_other_keys_are_other_masks(bench, spark):
    place = str(bench.folder / "vips")
    bench.rows(
        [(d, *row) for d, row in zip("aabbbb", ROWS, strict=True)],
        "ds string, " + SCHEMA,
        by=["ds"],
    )
    bench.write(spark.createDataFrame([(10,)], "customer bigint"), place)
    slices = [{"name": "vip", "lookup": {"column": "customer", "table": place}}]
    project = bench.project(slices=slices, partition_by=["ds"])
    bench.done("label_slices", project)
    before = catalogue(bench)["vip"]["fingerprint"]
    assert ids_of(bench, "vip") == {1, 5}

    bench.write(spark.createDataFrame([(11,)], "customer bigint"), place, mode="append")
    error = bench.run("label_slices", project, "--where", "ds = 'a'").error
    assert error.startswith(f"slices vip changed since {bench.place('masks')} was labelled")
    bench.done("label_slices", project)
    assert ids_of(bench, "vip") == {1, 2, 5}
    assert catalogue(bench)["vip"]["fingerprint"] != before
    versions = bench.versions()
    bench.done("label_slices", project)
    assert bench.versions() == versions


def test_explain_pins_nothing(bench):
    bench.rows(ROWS, SCHEMA)
    out = bench.done("label_slices", bench.project(by="country"), "--explain")
    assert "by country: each of 3 values has a slice" in out
    assert "country_us" in out
    assert not (bench.folder / "out").exists()


def test_an_older_catalogue_gets_the_definitions_column(bench, spark):
    bench.rows(ROWS, SCHEMA)
    bench.done("label_slices", bench.project(slices=[SHORT]))
    place = bench.place("slices")
    old = spark.read.format("delta").load(place).drop("definition")
    bench.write(spark.createDataFrame(old.toPandas(), old.schema), place)
    assert f"unchanged {place}" in bench.done("label_slices", bench.project(slices=[SHORT]))
    more = bench.project(slices=[SHORT, {"name": "long", "where": "length(text) > 3"}])
    bench.done("label_slices", more)
    assert {i: r["definition"] for i, r in catalogue(bench).items()} == {
        "short": None,
        "long": None,
    }


@pytest.mark.parametrize(
    ("settings", "error"),
    [
        (
            {"by": "contry"},
            "by: there is no column 'contry'; did you mean 'country'?",
        ),
        (
            {"by": [{"column": "country", "values": [False]}]},
            "column 'country' is string, and its values to slice by are given as boolean: False; "
            "write them as the column has them (YAML reads no, yes, on and off as booleans unless "
            "they are quoted)",
        ),
        (
            {"slices": [SHORT, {"name": "both", "where": "shrt & short"}]},
            "slice 'both' is composed of 'shrt', which is no slice's id; did you mean 'short'?",
        ),
        (
            {
                "slices": [SHORT, {"name": "both", "where": "country_de | short"}],
                "by": [{"column": "country", "top": 1}],
            },
            "slice 'both' is composed of 'country_de', which is no slice's id; did you mean "
            "'country_us'?",
        ),
        (
            {"slices": [{"name": "vip", "lookup": {"column": "customer", "keys": ["10"]}}]},
            "slice 'vip': column 'customer' is bigint, and the keys given are text; a look-up "
            "takes text, whole numbers, booleans, dates, DECIMAL or timestamps, both sides of one "
            "type: cast one of them",
        ),
    ],
    ids=["no column", "wrong values", "no slice", "no slice of a value", "wrong keys"],
)  # fmt: skip
def test_what_can_not_be(bench, settings, error):
    bench.rows(ROWS, SCHEMA)
    assert bench.run("label_slices", bench.project(**settings)).error == error
    assert not (bench.folder / "out").exists()
