"""The study's tables, written between the marks in study.md, and its charts."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

import matplotlib as mpl
import pandas as pd
from matplotlib import pyplot as plt
from matplotlib.axes import Axes

from tests.benchmarks.summary import (
    IN_A_SLICE,
    MIN_ROWS,
    OVERALL,
    REST,
    WORST,
    slices_of,
    verdicts,
)

COLOURS = {
    "baseline": "#555555",
    "oversampling": "#d98c00",
    "reweighting": "#2a9d8f",
    "slice-aware": "#1f5fbf",
    "paper attention": "#6fa8ff",
    "wrong masks": "#b0487a",
}
MARKS = {"oversampling": "s", "reweighting": "^", "paper attention": "D", "wrong masks": "x"}
INCH_PER_ROW = 0.27


def write(
    docs: Path,
    summaries: Mapping[str, pd.DataFrame],
    costs: Mapping[str, pd.DataFrame],
    by_width: pd.DataFrame,
    tutored: pd.DataFrame,
) -> None:
    """Write figures and charts to docs/study, and fill the tables of docs/study.md."""
    folder, page = docs / "study", docs / "study.md"
    folder.mkdir(parents=True, exist_ok=True)
    figures = pd.concat([s.assign(data=name) for name, s in summaries.items()])
    figures.round(4).to_csv(folder / "figures.csv", index=False)
    by_width.round(4).to_csv(folder / "capacity.csv", index=False)
    for name, summary in summaries.items():
        _gains_chart(summary, f"{name}: accuracy gained over the baseline", folder / f"{name}.png")
    _capacity_chart(by_width, folder / "capacity.png")

    tables = {"tutorial": _tutorial_table(tutored)}
    for name, summary in summaries.items():
        tables[f"{name} methods"] = _methods_table(summary, costs[name])
        tables[f"{name} slices"] = _slices_table(summary)
    text = page.read_text(encoding="utf-8") if page.exists() else ""
    for mark, table in tables.items():
        text = filled(text, mark, table)
    page.write_text(text, encoding="utf-8")


def filled(text: str, mark: str, table: str) -> str:
    """Put a table between its two marks; at the end where the text doesn't have them."""
    begin, end = f"<!-- {mark} -->", f"<!-- end of {mark} -->"
    block = f"{begin}\n{table}\n{end}"
    if begin not in text:
        return f"{text}\n{block}\n"
    return re.sub(f"{re.escape(begin)}.*?{re.escape(end)}", lambda _: block, text, flags=re.DOTALL)


def _methods_table(summary: pd.DataFrame, cost: pd.DataFrame) -> str:
    at = summary.set_index(["method", "metric", "group"])
    slices = summary[summary["group"].isin(slices_of(summary)) & (summary["metric"] == "accuracy")]
    found = verdicts(slices)
    rows = []
    for method in cost.index:
        overall, worst = at.loc[(method, "accuracy", OVERALL)], at.loc[(method, "accuracy", WORST)]
        own = found[slices["method"] == method]
        gains = ["", "", ""]
        if method != "baseline":
            gains = [_gain(overall), _gain(worst)]
            gains += [f"{(own == 'better').sum()} / {(own == 'worse').sum()} of {len(own)}"]
        rows.append(
            [
                method,
                _value(overall),
                _value(at.loc[(method, "f1", OVERALL)]),
                _value(worst),
                *gains,
                f"{cost.loc[method, 'seconds']:.1f}",
                f"{cost.loc[method, 'parameters']:,.0f}",
            ]
        )
    head = [
        *("method", "accuracy", "F1", "worst slice's accuracy"),
        *("accuracy gained", "worst slice gained", "slices better / worse"),
        *("seconds", "parameters"),
    ]
    return _markdown(head, rows)


def _slices_table(summary: pd.DataFrame) -> str:
    at = summary.set_index(["method", "metric", "group"])
    verdict = verdicts(summary).set_axis(at.index)
    methods = list(summary["method"].unique())
    rows = []
    for group in [*REST, *slices_of(summary)]:
        sliced = ("slice-aware", "accuracy", group)
        rows.append(
            [
                group if group in REST else f"`{group}`",
                f"{at.loc[sliced, 'rows']:,}",
                *(f"{100 * at.loc[(m, 'accuracy', group), 'value']:.1f}" for m in methods),
                _gain(at.loc[sliced]),
                verdict[sliced],
                *(
                    f"{100 * at.loc[(m, 'f1', group), 'value']:.1f}"
                    for m in ("baseline", "slice-aware")
                ),
                _gain(at.loc[("slice-aware", "f1", group)]),
            ]
        )
    head = [
        *("group", "test rows", *methods),
        *("slice-aware gained", "verdict", "F1 baseline", "F1 slice-aware", "F1 gained"),
    ]
    return _markdown(head, rows)


def _tutorial_table(tutored: pd.DataFrame) -> str:
    rows = [
        [
            *(row.method, f"{row.accuracy:.3f}", f"{row.f1:.3f}"),
            *(f"{row.seconds:.0f}", f"{row.parameters:,}"),
        ]
        for row in tutored.itertuples()
    ]
    return _markdown(["method", "accuracy", "F1", "seconds", "parameters"], rows)


def _value(row: pd.Series) -> str:
    """A percentage with its interval over test rows."""
    low, high = 100 * row["rows_low"], 100 * row["rows_high"]
    return f"{100 * row['value']:.1f} [{low:.1f}, {high:.1f}]"


def _gain(row: pd.Series) -> str:
    """Percentage points with both intervals: over test rows, over seeds."""
    over = [
        f"[{100 * row[f'gain_{of}_low']:+.1f}, {100 * row[f'gain_{of}_high']:+.1f}]"
        for of in ("rows", "seeds")
    ]
    return f"{100 * row['gain']:+.1f} {over[0]} {over[1]}"


def _markdown(head: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    lines = [head, ["---"] * len(head), *rows]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def _gains_chart(summary: pd.DataFrame, title: str, path: Path) -> None:
    """Draw each method's gain per group, slice-aware with its wider interval."""
    at = summary[summary["metric"] == "accuracy"].set_index(["method", "group"])
    # A slice of a few rows would stretch the axis until nothing else can be read.
    slices = [g for g in slices_of(summary) if at.loc[("baseline", g), "rows"] >= MIN_ROWS]
    slices = sorted(slices, key=lambda g: at.loc[("slice-aware", g), "gain"])
    groups = [*slices, WORST, *reversed(REST)]
    height = 1.6 + INCH_PER_ROW * len(groups)
    fig, ax = plt.subplots(figsize=(8, height), layout="constrained")
    ax.axvline(0, color="#555555", linewidth=1)
    ax.axhline(len(slices) - 0.5, color="#cccccc", linewidth=0.8)
    places = range(len(groups))
    for method, mark in MARKS.items():
        gains = 100 * at.loc[method].loc[groups, "gain"]
        ax.plot(gains, places, mark, color=COLOURS[method], markersize=5, label=method, alpha=0.75)
    own = 100 * at.loc["slice-aware"].loc[groups]
    low = own[["gain_rows_low", "gain_seeds_low"]].min(axis=1)
    high = own[["gain_rows_high", "gain_seeds_high"]].max(axis=1)
    colour = COLOURS["slice-aware"]
    ax.hlines(places, low, high, color=colour, linewidth=1.6)
    ax.plot(own["gain"], places, "o", color=colour, markersize=6, label="slice-aware")
    ax.set_ylim(-0.8, len(groups) - 0.2)
    ax.set_yticks(places, [_row_name(at, g) for g in groups])
    ax.set_xlabel("percentage points; each bar spans both 95 % intervals")
    ax.set_title(title, loc="left")
    _plain(ax)
    fig.legend(*ax.get_legend_handles_labels(), loc="outside lower center", ncols=5, frameon=False)
    _save(fig, path)


def _row_name(at: pd.DataFrame, group: str) -> str:
    rows = at.loc[("baseline", group), "rows"]
    return group if pd.isna(rows) else f"{group} ({rows:,})"


def _capacity_chart(by_width: pd.DataFrame, path: Path) -> None:
    """Draw accuracy inside the planted slices by the base's width, one panel per kind of base."""
    inside = by_width[by_width["group"] == IN_A_SLICE]
    kinds = list(inside["base"].unique())
    fig, axes = plt.subplots(1, len(kinds), figsize=(8, 3.6), sharey=True, layout="constrained")
    for ax, kind in zip(axes, kinds, strict=True):
        for method, found in inside[inside["base"] == kind].groupby("method", sort=False):
            colour, at = COLOURS[str(method)], range(len(found))
            ax.plot(at, 100 * found["value"], "o-", color=colour, markersize=4, label=method)
            low, high = (100 * found[f"seeds_{end}"].clip(0, 1) for end in ("low", "high"))
            ax.fill_between(at, low, high, color=colour, alpha=0.15, linewidth=0)
        ax.set_xticks(at, found["width"])
        ax.set_xlabel("width of the base")
        ax.set_title(f"{kind} base", loc="left")
        _plain(ax)
    axes[0].set_ylabel("accuracy in the planted slices, %")
    handles = axes[0].get_legend_handles_labels()
    fig.legend(*handles, loc="outside lower center", ncols=len(COLOURS), frameon=False)
    _save(fig, path)


def _plain(ax: Axes) -> None:
    ax.spines[["top", "right"]].set_visible(False)
    ax.grid(axis="both", color="#eeeeee")
    ax.set_axisbelow(True)


def _save(fig: mpl.figure.Figure, path: Path) -> None:
    # Without the version in it, the same figures give the same file.
    fig.savefig(path, dpi=110, metadata={"Software": None})
    plt.close(fig)
