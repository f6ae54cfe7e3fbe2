"""A plan applied to a table, of Spark, pandas or pyarrow: rows go in, masks come out.

May import: run, masks and the rooms below them.
Start reading: `placement` (which slice runs where), `plan` (`compile_slices` and `MaskPlan`), then
`local` (the same without Spark). `appliers` has Snorkel's interface, `lookup_joins` the tables of
keys that Spark joins, `predicates` the slices that are written for Spark.
"""
