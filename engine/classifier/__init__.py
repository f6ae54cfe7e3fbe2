"""The slice-aware classifier: model, training, checkpoints; torch, and no Spark.

May import: metrics' scorer and catalog, masks' codes, arrow and the ground floor.
Start reading: `model` (experts per slice, attention over them), then `train` (the loop).
`settings` and `rules` load no torch: a project file is checked by them.
"""
