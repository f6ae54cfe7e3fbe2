"""One script per verb: parse, wire, log; imported by nothing."""

import sys

import engine

if "compile_slices" not in getattr(engine, "__all__", ()):
    print(
        f"error: Python finds another package 'engine', in {list(engine.__path__)}, before that of "
        "the slice engine: take it off PYTHONPATH, or start the job in the folder that has jobs",
        file=sys.stderr,
    )
    sys.exit(2)
