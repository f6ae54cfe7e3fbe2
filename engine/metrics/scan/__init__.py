"""The one scan: every state of all slices, splits and models, added up by Spark's tasks.

May import: formulas, masks, run, storage and the ground floor.
Start reading: `scan` (from a table to states), then `kernel` (what one task does, in numpy).
`joined` has what is read as SQL, `direct` reads the same from a table's files.
"""
