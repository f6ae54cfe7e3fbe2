"""Tables on terminals of any width: no name and no number is cut, no line is too long."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from rich.cells import cell_len

from engine.metrics import catalog as spec
from engine.metrics.explore.findings import findings
from engine.report import sections
from engine.report.sections import Section
from engine.report.terminal import lines

LONG = "region_" + "of_the_customers_of_the_second_quarter_"[:37] + "_north"
SLICES = ["overall", LONG, "short_link", "sex=Female & race=Black"]
METRICS = ["accuracy", "recall", "f1", "mae", "r2", "log_loss"]
MODELS = ["baseline", "slice_aware_of_november"]


def evaluated():
    """Return figures of six metrics and two models, some negative, some wide, of long names."""
    rng = np.random.default_rng(0)
    rows = []
    for model in MODELS:
        for i, slice_id in enumerate(SLICES):
            for metric in METRICS:
                large = 1e5 if metric == "mae" else 1.0
                value = float(rng.uniform(-12, 1) if metric == "r2" else rng.uniform(0, large))
                low, high = value - 0.1 * large, value + 0.1 * large
                rows.append(
                    (model, "test", slice_id, metric, value, 12_345 - i, 7, "ok", low, high, 0.001,
                     -0.3 * large, -0.4 * large, -0.2 * large, 1_234)
                )  # fmt: skip
    columns = [
        "model_id", "split", "slice", "metric", "value", "support", "n_null", "status", "ci_low",
        "ci_high", "p_adjusted", "effect", "effect_low", "effect_high", "n_decisive",
    ]  # fmt: skip
    found = pd.DataFrame(rows, columns=columns)
    return found.assign(p_value=found["p_adjusted"])


TABLE = evaluated()
FIGURES = sections.figures(TABLE, SLICES, MODELS, "test", 0.95, spec.better)
DIFFER = sections.differences(TABLE, "test", 0.95, spec.better)
ROWS = sections.rows_of(
    "Rows of the largest loss",
    pd.DataFrame(
        {"id": [1234567, 89], "text": ["win at http://bit.ly/" + "x" * 150, "no " * 60],
         "prob": [[0.25, 0.75], [1.0, 0.0]], "loss": [36.04, -0.5]}
    ),
    "s",
)  # fmt: skip
EACH = {"figures": FIGURES, "differences": DIFFER, "rows": ROWS}


def wanted(section):
    """Return names and numbers that must be whole: all but texts that are long."""
    cells = [sections.cell(v) for row in section.rows for v in row]
    heads = [part for name in section.columns for part in name.split("\n")]
    return [text for text in (*cells, *heads) if len(text) <= 60]


@pytest.mark.parametrize("width", [80, 120, 200])
@pytest.mark.parametrize("of", EACH)
def test_nothing_is_cut_and_no_line_is_too_long(of, width):
    shown = lines(EACH[of], width)
    assert max(map(cell_len, shown)) <= width
    text = "\n".join(shown)
    for one in wanted(EACH[of]):
        assert one in text, one
    assert "…" not in text


@pytest.mark.parametrize("width", [80, 120, 200])
def test_every_figure_stands_beside_its_slice_or_under_it(width):
    shown = lines(FIGURES, width)
    for name, *values in FIGURES.rows:
        for value in map(sections.cell, values):
            places = [i for i, line in enumerate(shown) if value in line]
            assert any(
                shown[i].startswith(f" {name} ") or shown[i - 1].strip() == name for i in places
            ), (name, value)


def test_where_nothing_fits_a_figure_is_wrapped_between_its_parts():
    shown = lines(FIGURES, 30)
    assert max(map(cell_len, shown)) <= 30
    for part in ("0.6370 [0.54 0.74]", "n=1,234 -", "-1.4275 [-1.53 -1.33]", MODELS[1]):
        assert part in "\n".join(shown)


def test_a_wide_terminal_has_one_table_and_a_narrow_one_a_table_per_metric():
    short = [s for s in SLICES if s != LONG]
    of = sections.figures(TABLE[TABLE["slice"] != LONG], short, MODELS, "test", 0.95, spec.better)
    rules = {w: sum(set(line.strip()) == {"─"} for line in lines(of, w)) for w in (80, 120, 500)}
    assert rules[500] == 1
    assert rules[80] > rules[120] > 1
    heads = [line.split() for line in lines(of, 120) if line.strip().startswith("accuracy")]
    assert heads == [] or heads[0].count("accuracy") == 2


SNAPSHOT_80 = """\
Split test

 slice                                                support   undecided
 ────────────────────────────────────────────────────────────────────────
 overall                                                1,250           0
 region_of_the_customers_of_the_second_quarte_north        17           3

 slice                                                accuracy
                                                      m
 ─────────────────────────────────────────────────────────────────────────
 overall                                              0.8600 [0.84 0.88]
 region_of_the_customers_of_the_second_quarte_north   0.0000 [0.00 0.18] -

 slice
     r2
     m
 ──────────────────────────────────────────────────
 overall
     -1234.5000 [-1300.00 -1100.00] -
 region_of_the_customers_of_the_second_quarte_north
     0.9000 [0.81 0.95] n=188 +
"""
SNAPSHOT_120 = """\
Split test

 slice                                                support   undecided   accuracy
                                                                            m
 ───────────────────────────────────────────────────────────────────────────────────────────────
 overall                                                1,250           0   0.8600 [0.84 0.88]
 region_of_the_customers_of_the_second_quarte_north        17           3   0.0000 [0.00 0.18] -

 slice                                                r2
                                                      m
 ─────────────────────────────────────────────────────────────────────────────────────
 overall                                              -1234.5000 [-1300.00 -1100.00] -
 region_of_the_customers_of_the_second_quarte_north   0.9000 [0.81 0.95] n=188 +
"""
SNAPSHOT_200 = """\
Split test

 slice                                                support   undecided   accuracy               r2
                                                                            m                      m
 ──────────────────────────────────────────────────────────────────────────────────────────────────────────────────────────────────
 overall                                                1,250           0   0.8600 [0.84 0.88]     -1234.5000 [-1300.00 -1100.00] -
 region_of_the_customers_of_the_second_quarte_north        17           3   0.0000 [0.00 0.18] -   0.9000 [0.81 0.95] n=188 +
"""  # noqa: E501


@pytest.mark.parametrize(
    ("width", "shown"),
    [(80, SNAPSHOT_80), (120, SNAPSHOT_120), (200, SNAPSHOT_200), (None, SNAPSHOT_200)],
)
def test_a_table_at_each_width(width, shown):
    rows = [
        ["overall", 1250, 0, "0.8600 [0.84 0.88]", "-1234.5000 [-1300.00 -1100.00] -"],
        [LONG, 17, 3, "0.0000 [0.00 0.18] -", "0.9000 [0.81 0.95] n=188 +"],
    ]
    of = Section("Split test", ["slice", "support", "undecided", "accuracy\nm", "r2\nm"], rows)
    assert "\n".join(lines(of, width)) == shown


def test_a_log_has_the_width_of_its_figures():
    figure = "0.8000 [0.70 0.90]"
    of = Section("t", ["slice", *("f1\nmodel" for _ in range(14))], [["x" * 70, *[figure] * 14]])
    shown = lines(of)
    assert sum(line.count(figure) == 14 for line in shown) == 1
    assert any("x" * 70 in line for line in shown)


def test_long_texts_are_wrapped_at_words_and_what_names_rows_is_not():
    of = Section("t", ["id", "text"], [["1", "a b c " * 20], ["2", "d" * 90]])
    shown = lines(of, 50)
    assert shown[4].startswith(" 1    a b c a b")
    assert not any(line.endswith(" ") for line in shown)
    assert sum(line.count("d") for line in shown[4:]) == 90


def test_wide_letters_take_two_columns():
    of = Section("t", ["slice", "f1"], [["東京の顧客", "0.5000"], ["a", "0.2500"]])
    shown = lines(of, 30)
    assert [cell_len(line) for line in shown[4:6]] == [20, 20]


def test_keys_are_as_people_paste_them():
    assert [row[0] for row in ROWS.rows] == ["1234567", "89"]
    rows = pd.DataFrame({"id": [1], "ok": [True], "n": [np.int64(9999)]})
    flags = sections.rows_of("t", rows, "s")
    assert flags.rows == [["1", True, "9999"]]


def test_the_legend_says_what_is_there():
    assert FIGURES.note == (
        "+ better than the rows outside the slice (corrected p-values); "
        "- worse than the rows outside the slice (corrected p-values); "
        "n= the rows that decide the figure: of recall the positive ones"
    )
    plain = TABLE.assign(p_adjusted=0.5, n_decisive=TABLE["support"])
    assert sections.figures(plain, SLICES, MODELS, "t", 0.95, spec.better).note == ""


def test_what_few_rows_tell_for_sure_has_a_mark_in_place_of_a_question():
    few = TABLE.assign(status="insufficient", n_decisive=TABLE["support"])
    assert sections.figure(few.iloc[0].to_dict(), 0.95).endswith("] -")
    unsure = few.assign(p_adjusted=np.nan)
    assert sections.figure(unsure.iloc[0].to_dict(), 0.95).endswith("] ?")
    alone = unsure.assign(status="single_class")
    assert sections.figure(alone.iloc[0].to_dict(), 0.95).endswith("] (one class)")


def test_findings_are_sentences_harm_first():
    (both,) = sections.findings(findings(TABLE), "test")
    assert both.title == "Split test: where slices are worse, most harm and most severe first"
    worse = TABLE.assign(n_decisive=TABLE["slice"].map(dict.fromkeys(SLICES, 9) | {LONG: 99}))
    worse["effect_high"] *= np.where(TABLE["slice"] == SLICES[-1], 1.5, 1)
    harm, severe = sections.findings(findings(worse), "test")
    assert harm.title == (
        "Split test: where slices do most harm, by the rows that this is at least"
    )
    assert severe.title == (
        "Split test: where slices are most severe, by how much worse they are at least"
    )
    assert list(harm.columns) == ["", "finding"]
    assert [row[0] for row in harm.rows] == [1, 2, 3]
    assert (LONG in harm.rows[0][1], SLICES[-1] in severe.rows[0][1]) == (True, True)
    for width in (80, 120):
        shown = lines(severe, width)
        assert max(map(len, shown)) <= width
        assert LONG in "\n".join(shown)
    (none,) = sections.findings(findings(TABLE.assign(p_adjusted=1.0)), None)
    assert none.title == (
        "Split null: no slice is worse than the rows outside it (corrected p-values)"
    )
