"""What one looks at next: any composition of slices, run against run.

May import: inference, scan, formulas, masks and the ground floor.
Start reading: `signatures` (counts of distinct patterns of masks, which answer any composition).
`trend` follows a figure through the metrics table.
"""
