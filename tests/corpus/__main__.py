"""How much of the corpus is lifted: ``python -m tests.corpus``.

It says too why functions of the worked half aren't; with ``all``, also those of the unseen half.
"""

from __future__ import annotations

import re
import sys
from collections import Counter

from engine.compile.tiers import Tier
from engine.label.plan import compile_slices
from tests.corpus import UNSEEN, WORKED, domains, part


def main(arguments: list[str]) -> int:
    """Print counts by half and tier, and the reasons, most frequent first."""
    told = {WORKED, UNSEEN} if "all" in arguments else {WORKED}
    tiers: dict[str, Counter[str]] = {WORKED: Counter(), UNSEEN: Counter()}
    lifted: Counter[str] = Counter()  # some of those run as Python because it costs less
    reasons: Counter[str] = Counter()
    for domain in domains():
        plan = compile_slices(domain.sfs, domain.table.schema)
        for a in plan.assignments:
            tiers[part(a.name)][a.tier] += 1
            if Tier.ARROW not in a.refused:
                lifted[part(a.name)] += 1
            elif part(a.name) in told:
                reasons[_reason(a.refused[Tier.ARROW])] += 1
    for half, counts in tiers.items():
        n = counts.total()
        said = ", ".join(f"{k} {v}" for k, v in counts.most_common())
        print(f"{half}: {n} functions, {lifted[half] / n:.3f} lifted ({said})")
    for reason, n in reasons.most_common():
        print(f"{n:5d}  {reason}")
    return 0


def _reason(why: str) -> str:
    """Return a reason without the line that it is about."""
    return re.sub(r"^not lifted: (line \d+: )?", "", why)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
