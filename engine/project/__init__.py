"""What a project file says, and what the tables of a project hold.

May import: every other room; only jobs import it.
Start reading: `settings` (the project file, typed) and `load` (YAML into it), then `slices` (its
slices over its source). `labelling`, `evaluating`, `training`, `gating`,
`baseline_run` and `checkpoint_scores` are a job each beyond its wiring; `cli` is what jobs share on
the terminal.
"""
