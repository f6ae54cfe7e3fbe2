"""What a report holds of rows, columns and tiny slices."""

import pandas as pd

from engine.report.sections import Section, rows_of
from engine.report.sharing import Sharing

FIGURES = pd.DataFrame(
    {
        "split": ["test"] * 4 + [None] * 4,
        "slice": ["overall", "tiny", "ann", "all"] * 2,
        "support": [9, 2, 8, 9, 3, 2, 3, 3],
    }
)
BY = {"ann": ("author", "video")}
ROWS = rows_of("Rows of tiny", pd.DataFrame({"id": [1], "text": ["a"], "loss": [0.5]}), "all")
TINY = rows_of("Rows of tiny", pd.DataFrame({"id": [1], "text": ["a"]}), "tiny")
FLIPS = Section("Flips", ["split", "slice", "won"], [["test", "ann", 1], ["null", "ann", 2]])
NEAR = Section("Near", ["slice", "nearly the same"], [["all", "tiny"], ["all", "ann"]])
WHY = Section("Quarantine", ["slice", "why"], [["all", "row id=7 raised"]], "Null.")
EVERY = [ROWS, TINY, FLIPS, NEAR, WHY]


def shared(sharing: Sharing) -> list[Section]:
    return sharing.sections(EVERY, sharing.hidden(FIGURES))


def test_by_default_all_is_shown():
    all_of_it = Sharing(texts=["text"], by_column=BY)
    hidden = all_of_it.hidden(FIGURES)
    assert hidden == {"test": set(), "null": set()}
    assert shared(all_of_it) == EVERY
    assert all_of_it.figures(FIGURES, hidden).equals(FIGURES)
    assert all_of_it.sentence(hidden) == ""


def test_single_rows_are_left_out_or_their_keys_alone_are_shown():
    none = shared(Sharing(rows="none", texts=["text"]))
    assert [s.title for s in none] == ["Flips", "Near", "Quarantine"]
    keys = shared(Sharing(rows="keys", texts=["text"]))
    assert (keys[0].columns, keys[0].rows) == (["id", "loss"], [["1", 0.5]])
    for sections in (none, keys):  # what went wrong may quote a row
        assert sections[-1].columns == ["slice"]
        assert sections[-1].note == "Null. What they did isn't told, for it may quote rows."


def test_hidden_columns_are_shown_by_no_row_and_by_no_slice():
    sharing = Sharing(hide=["author", "text"], by_column=BY)
    hidden = sharing.hidden(FIGURES)
    assert hidden == {"test": {"ann"}, "null": {"ann"}}
    rows, tiny, flips, near, why = shared(sharing)
    assert (rows.columns, tiny.columns, why.columns) == (["id", "loss"], ["id"], ["slice"])
    assert (flips.rows, near.rows) == ([], [["all", "tiny"]])
    assert sharing.figures(FIGURES, hidden)["slice"].tolist() == ["overall", "tiny", "all"] * 2
    assert sharing.sentence(hidden) == (
        "This report leaves out 1 slice with values of hidden columns; the columns author, text."
    )


def test_tiny_slices_are_left_out_split_by_split():
    sharing = Sharing(smallest=4)
    hidden = sharing.hidden(FIGURES)
    assert hidden == {"test": {"tiny"}, "null": {"tiny", "ann", "all"}}
    figures = sharing.figures(FIGURES, hidden)
    assert figures["slice"].tolist() == ["overall", "ann", "all", "overall"]
    flips = Sharing(smallest=4).sections([FLIPS], hidden)
    assert flips[0].rows == [["test", "ann", 1]]
    # What names no split goes where a slice is tiny in any.
    assert [s.title for s in shared(sharing)] == ["Flips", "Near", "Quarantine"]
    assert shared(sharing)[1].rows == []
    assert sharing.sentence(hidden) == ("This report leaves out 3 slices with fewer than 4 rows.")


def test_sentences_on_a_slice_that_is_left_out_are_left_out():
    said = [[1, "recall of tiny is .3"], [2, "f1 of tiny_too is .4"]]
    first = Section("Findings", ["", "most harm"], said, "tiny is in all\nOf 3 slices.", first=True)
    sharing = Sharing(smallest=3)
    (shown,) = sharing.sections([first], sharing.hidden(FIGURES))
    assert (shown.rows, shown.note) == ([[2, "f1 of tiny_too is .4"]], "Of 3 slices.")
    assert Sharing().sections([first], Sharing().hidden(FIGURES)) == [first]
