"""Print the oldest versions that pyproject.toml allows: what `make test-oldest` installs."""

from __future__ import annotations

import tomllib
from collections.abc import Iterator
from pathlib import Path

from packaging.requirements import Requirement

PYPROJECT = Path(__file__).parents[1] / "pyproject.toml"


def oldest(requirement: str) -> str:
    """Return a requirement pinned to its lower bound; one without a bound as it is.

    Examples
    --------
    >>> oldest("pyspark>=4.1,<4.2"), oldest("pandas-stubs")
    ('pyspark==4.1', 'pandas-stubs')
    """
    wanted = Requirement(requirement)
    bounds = [s.version for s in wanted.specifier if s.operator in (">=", "==")]
    return f"{wanted.name}=={bounds[0]}" if bounds else wanted.name


def requirements() -> Iterator[str]:
    """Yield what the engine, its extras and its tests need, each at its lower bound."""
    project = tomllib.loads(PYPROJECT.read_text(encoding="utf-8"))["project"]
    for some in (project["dependencies"], *project["optional-dependencies"].values()):
        yield from map(oldest, some)


if __name__ == "__main__":
    print("\n".join(requirements()))
