"""What `import engine` gives and costs, and what executors need."""

from __future__ import annotations

import ast
import importlib
import re
import subprocess
import sys
import textwrap
import time
from pathlib import Path

import pytest

import engine

# Scripts import these names; a name may be added, none goes.
NAMES = [
    "Confidence", "DictDataLoader", "DictDataset", "EngineError", "Evaluation", "Findings",
    "findings", "MaskPlan",
    "NLPSlicingFunction", "SpacyPreprocessor", "nlp_slicing_function",
    "Overlap", "PandasSFApplier", "Preprocessor", "SFApplier", "Scorer", "Signatures",
    "SliceAwareClassifier", "SlicingClassifier", "SlicingFunction", "SparkSFApplier", "Trainer",
    "by", "compile_slices", "cross", "evaluate", "lookup", "metric", "open_session", "overlap",
    "preds_to_probs", "preprocessor", "probs_to_preds", "profile", "set_seed", "signatures",
    "slice_dataframe", "slicing_function", "SliceTime", "trend", "where",
]  # fmt: skip
ROOT = Path(__file__).parents[1]
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]
EXAMPLE = re.compile(r"^```python\n(.*?)^```", re.MULTILINE | re.DOTALL)


def python(code: str, *flags: str) -> str:
    """Run code in a fresh interpreter; return what it printed."""
    command = [sys.executable, *flags, "-c", textwrap.dedent(code)]
    ran = subprocess.run(command, capture_output=True, text=True, check=False, timeout=60)
    assert ran.returncode == 0, ran.stderr
    return ran.stdout.strip()


def imports(page: Path) -> list[tuple[str, str]]:
    """Return the modules of ours that a page's examples import, each with a name of it."""
    nodes = [n for code in EXAMPLE.findall(page.read_text()) for n in ast.walk(ast.parse(code))]
    froms = [n for n in nodes if isinstance(n, ast.ImportFrom)]
    pairs = [(str(n.module), alias.name) for n in froms for alias in n.names]
    return [p for p in pairs if p[0].partition(".")[0] in ("engine", "jobs", "sfs")]


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_what_pages_import_is_there(page):
    for module, name in imports(page):
        assert hasattr(importlib.import_module(module), name), f"{module}.{name}"


def test_pages_import_names():
    assert len({pair for page in PAGES for pair in imports(page)}) > 20


def test_every_public_name_is_there():
    assert set(NAMES) <= set(engine.__all__)
    assert set(engine.__all__) <= set(dir(engine))
    for name in engine.__all__:
        assert getattr(engine, name).__name__ in (name, "SlicingClassifier")


def test_a_name_that_is_not_there():
    with pytest.raises(AttributeError, match=r"^module 'engine' has no attribute 'SlicingFuncton'"):
        _ = engine.SlicingFuncton


def test_importing_it_costs_under_300_ms_over_a_bare_interpreter():
    def best_of_five(code: str) -> float:
        times = []
        for _ in range(5):
            start = time.perf_counter()
            subprocess.run([sys.executable, "-c", code], check=True)
            times.append(time.perf_counter() - start)
        return min(times)

    assert best_of_five("import engine") - best_of_five("pass") < 0.3


@pytest.mark.parametrize(
    "code",
    [
        "import engine",
        "from engine import EngineError, SlicingFunction, preprocessor, slicing_function, where",
    ],
)
def test_importing_it_loads_nothing_heavy(code):
    heavy = {"torch", "delta", "pyspark", "py4j", "pydantic", "pandas", "sklearn", "yaml"}
    loaded = python(f"{code}\nimport sys\nprint(*{{m.partition('.')[0] for m in sys.modules}})")
    assert not heavy & set(loaded.split())


BLOCK = """
    import sys

    class Blocked:
        def find_spec(self, name, path=None, target=None):
            allowed = {allowed!r} | sys.stdlib_module_names
            top = name.partition(".")[0]
            if path is None and top not in allowed and not top.startswith("_"):
                raise ModuleNotFoundError(f"No module named {{name!r}}", name=name)

    sys.meta_path.insert(0, Blocked())
"""
# numpy, pandas and pyarrow, and what these need themselves.
SCIENCE = {"engine", "numpy", "pandas", "pyarrow", "dateutil", "pytz", "six", "tzdata"}


def test_slicing_and_kernel_run_with_numpy_pandas_and_pyarrow_alone():
    code = """
    import pyarrow as pa
    import engine.errors, engine.hashing
    import engine.metrics.formulas.classification, engine.metrics.formulas.ranking
    import engine.metrics.scorer
    from engine import PandasSFApplier, SFApplier, preprocessor, slicing_function
    from engine.run.kernel import Kernel

    @preprocessor(memoize=True)
    def words(x):
        x.words = x.text.split()
        return x

    @slicing_function(pre=[words])
    def short(x):
        return len(x.words) < 2

    @slicing_function()
    def spam(text: "pd.Series"):
        return text.str.contains("spam")

    out = Kernel([short, spam]).run({"text": pa.array(["spam", "a b", None])})
    print([mask.tolist() for mask in out.masks.values()], list(out.faults))
    """
    block = textwrap.dedent(BLOCK.format(allowed=SCIENCE))
    out = python(block + textwrap.dedent(code))
    assert out == "[[1, 0, -1], [1, 0, -1]] []"


def test_the_fused_udf_needs_pyspark_besides():
    code = "import engine.run.udf, engine.run.faults, engine.label.plan, engine.hashing"
    block = textwrap.dedent(BLOCK.format(allowed=SCIENCE | {"pyspark", "py4j"}))
    assert python(block + code + "\nprint('torch' in sys.modules)") == "False"


def test_blocking_blocks():
    block = textwrap.dedent(BLOCK.format(allowed=SCIENCE))
    code = "\ntry:\n    import pydantic\nexcept ModuleNotFoundError as error:\n    print(error)"
    assert python(block + code) == "No module named 'pydantic'"


def test_needs_no_java_home_and_no_home(tmp_path):
    code = "import engine; print(engine.__version__, engine.slicing_function.__name__)"
    out = subprocess.run(
        [sys.executable, "-c", code],
        capture_output=True, text=True, check=True, env={"PATH": ""}, cwd=tmp_path,
    )  # fmt: skip
    assert out.stdout.strip() == f"{engine.__version__} slicing_function"
