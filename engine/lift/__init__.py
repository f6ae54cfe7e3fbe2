"""Python source to a tree over columns: what a function says, without running it.

May import: slicing, matching, ops and the ground floor.
Start reading: `lift.lift`, then `statements`, `calls` and `expressions`, each above the next.
`scope` has what names stand for; `reads` lists the columns that a function reads, `notes` what its
writer should know.
"""
