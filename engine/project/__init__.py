"""What a project file says, and what the tables of a project hold.

May import: every other room; only jobs import it.
Start reading: `config` (the project file, checked), then `slices` (its slices over its source).
`audit`, `sample`, `records` and `fitting` are what the jobs share beyond wiring.
"""
