"""What one looks at next: the worst rows, any composition of slices, run against run.

May import: inference, scan, formulas, masks and the ground floor.
Start reading: `signatures` (counts of distinct patterns of masks, which answer any composition).
`rows` finds the rows to look at, `trend` follows a figure through the metrics table.
"""
