"""What a slicing function is: its id, its tree, its rows, and the algebra over slices.

May import: matching, storage, ops and the ground floor; knows no Spark and no torch.
Start reading: `functions` (what users write), then `expr` (the tree) and `rows` (what they see).
`evaluate` says what a tree means, row by row: every faster way must give the same.
"""
