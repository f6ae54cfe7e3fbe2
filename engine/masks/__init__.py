"""Stored masks: the mask table's two layouts, its one reader, and what is counted of it.

May import: slicing, storage and the ground floor; knows no tiers and no plans.
Start reading: `layout` (BOOLEAN columns or words of bits), then `reader`. `coverage` and `overlap`
count rows for thousands of slices in one scan.
"""
