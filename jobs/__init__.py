"""One script per verb: parse, wire, log; imported by nothing."""

import importlib.util
import sys

if importlib.util.find_spec("engine.project") is None:
    import engine

    print(
        f"error: Python finds another package 'engine', in {list(engine.__path__)}, before that of "
        "the slice engine: take it off PYTHONPATH, or start the job in the folder that has jobs",
        file=sys.stderr,
    )
    sys.exit(2)
