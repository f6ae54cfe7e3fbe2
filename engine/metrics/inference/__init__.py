"""How sure a figure is: values with statuses, intervals, tests, two models compared.

May import: scan, formulas, masks and the ground floor.
Start reading: `figures` (states to values), then `uncertainty` (their intervals and tests).
`intervals` and `significance` are the formulas, over arrays of any leading axes.
"""
