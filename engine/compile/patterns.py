from __future__ import annotations

import re
from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True)
class Search:
    kind: str
    pattern: str
    flags: int = 0
    form: str = "as_is"


class PatternSet:
    def __init__(self, searches, matcher="auto"):
        self.searches = searches

    def run(self, text):
        rows = text.array.to_pylist()
        out = np.zeros((len(self.searches), len(rows)), bool)
        for i, s in enumerate(self.searches):
            for j, t in enumerate(rows):
                if t is None:
                    continue
                if s.form == "lower":
                    t = t.lower()
                out[i, j] = {
                    "contains": lambda: s.pattern in t,
                    "startswith": lambda: t.startswith(s.pattern),
                    "endswith": lambda: t.endswith(s.pattern),
                }.get(s.kind, lambda: getattr(re, s.kind)(s.pattern, t, s.flags) is not None)()
        return out

    @property
    def methods(self):
        return tuple("stub" for _ in self.searches)
