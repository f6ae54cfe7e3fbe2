"""Plain mode: ``ENGINE_PLAIN=1`` turns every fast path off, so that tests compare both ways."""

from __future__ import annotations

import os

NAME = "ENGINE_PLAIN"
SENTENCE = f"{NAME}=1: every fast path is off, row functions run as Python, row by row"
_OFF = frozenset({"", "0", "no", "off", "false"})


def plain() -> bool:
    """Tell whether fast paths are off.

    Examples
    --------
    >>> from unittest.mock import patch
    >>> with patch.dict(os.environ, ENGINE_PLAIN="1"):
    ...     plain()
    True
    """
    return os.environ.get(NAME, "").lower() not in _OFF


def obey(driver: bool) -> None:
    """Make a worker as plain as the driver that sent its task, whatever its environment says."""
    os.environ[NAME] = "1" if driver else "0"
