"""Functions over parsed texts: `nlp.pipe` over batches against Snorkel's one text at a time.

  .venv/bin/python -m tests.benchmarks.bench_nlp

Three functions over 4,000 distinct comments; the pipeline is English words, sentences and a text
classifier, its weights as they are drawn. Both remember what they parsed, which helps neither here;
with each comment ten times it does. A minute.
"""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import Any

import pandas as pd
from snorkel.slicing import PandasSFApplier as SnorkelApplier

from engine import NLPSlicingFunction, PandasSFApplier
from tests.benchmarks.comments import comments
from tests.benchmarks.turns import Claims, medians

N = 4_000
FUNCTIONS: dict[str, Any] = {
    "has_number": lambda x: any(token.like_num for token in x.doc),
    "two_sentences": lambda x: len(list(x.doc.sents)) > 1,
    "spam": lambda x: x.doc.cats["spam"] > 0.5,
}


def pipeline(folder: Path) -> str:
    """Write a pipeline to a folder; return the folder's path."""
    import spacy  # pytest loads this file where spaCy isn't installed, too
    from spacy.training import Example

    spacy.util.fix_random_seed(0)
    nlp = spacy.blank("en")
    nlp.add_pipe("sentencizer")
    nlp.add_pipe("textcat")
    cats = [{"spam": float(one), "ham": 1.0 - one} for one in (True, False)]
    docs = [nlp.make_doc(text) for text in ("check out my channel", "nice song")]
    nlp.initialize(
        lambda: [Example.from_dict(d, {"cats": c}) for d, c in zip(docs, cats, strict=True)]
    )
    nlp.to_disk(folder)
    return str(folder)


def main() -> None:
    from snorkel.slicing.sf.nlp import NLPSlicingFunction as SnorkelSF  # imports spaCy

    claims = Claims()
    with tempfile.TemporaryDirectory() as folder:
        language = pipeline(Path(folder) / "pipeline")
        rows = comments(N, seed=0).to_pandas()[["text"]]

        def ours(rows: pd.DataFrame) -> Any:
            sfs = [NLPSlicingFunction(n, f, language=language) for n, f in FUNCTIONS.items()]
            return PandasSFApplier(sfs).apply(rows, progress_bar=False)

        def theirs(rows: pd.DataFrame) -> Any:
            sfs = [SnorkelSF(n, f, language=language) for n, f in FUNCTIONS.items()]
            SnorkelSF._nlp_config.nlp.reset_cache()
            return SnorkelApplier(sfs).apply(rows, progress_bar=False)

        for name, of in (("distinct", rows), ("repeated", pd.concat([rows[: N // 10]] * 10))):
            mine, other = ours(of), theirs(of)  # both have loaded the pipeline
            assert mine.tolist() == other.tolist()
            seconds = medians({"Snorkel": lambda of=of: theirs(of), "ours": lambda of=of: ours(of)})
            claims.ratio(f"nlp_{name}", seconds["Snorkel"] / seconds["ours"])
    claims.tell()


if __name__ == "__main__":
    main()
