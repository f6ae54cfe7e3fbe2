"""The one scan: every state of all slices, splits and models, added up by Spark's tasks.

May import: formulas, masks, run, storage and the ground floor.
Start reading: `form` (what is evaluated), `scan` (from a table to states), `kernel` (numpy alone).
`joined` and `chunks` read, `task` adds up, `sums` sends and arranges, `checks` looks back.
"""
