"""The slice-aware classifier: model, training, checkpoints; torch, and no Spark.

May import: metrics' scorer and catalog, masks' frames, arrow and the ground floor.
Start reading: `network` (experts per slice, attention over them), then `train` (the loop).
`settings` and `rules` load no torch: a project file is checked by them.
"""

import os

# Gradients as large as the weights are allocated anew at every step; without huge pages the
# page faults cost more than the arithmetic (385 against 100 ms a step at 90 M weights). torch
# reads this at its first allocation, so it works when engine is imported before that.
os.environ.setdefault("THP_MEM_ALLOC_ENABLE", "1")
