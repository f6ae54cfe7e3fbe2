"""Python source to a tree over columns: what a function says, without running it.

May import: slicing, matching, ops and the ground floor.
Start reading: `lift.lift`, which goes through a function's statements in order.
`reads` tells the columns that a function reads, `notes` what its writer should know.
"""
