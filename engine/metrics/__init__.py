"""Figures per slice: mergeable states under masks, one scan for all, formulas on the driver.

May import: label, run, masks and the rooms below them; knows no project and no torch.
Start reading: `evaluation.evaluate`, which names each step; its rows are `in_spark`, or
`in_memory` (of tables that `local_tables` reads). Then `formulas`, `scan`, `inference`.
`catalog` has the names of metrics and their parameters, `custom` those of the user's own.
"""
