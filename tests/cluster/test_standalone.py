"""A real standalone cluster on loopback: what crosses processes must cross.

A Master and two Workers. Executors have numpy, pandas and pyarrow; the engine reaches them as the
zip of `make dist` alone, and everything else that the driver has is blocked there.
"""

from __future__ import annotations

import os
import re
import socket
import subprocess
import sys
import time
import zipfile
from pathlib import Path

import pandas as pd
import pyspark
import pytest

from engine.storage.session import delta_jars

# Many processes that each start a JVM: on a busy machine they take their time.
pytestmark = [pytest.mark.slow, pytest.mark.spark, pytest.mark.timeout(1800)]

ROOT = Path(__file__).parents[2]
SPARK_HOME = Path(pyspark.__file__).parent
CLASS = "org.apache.spark.deploy.{0}.{1}"

# Runs at the start of every Python on an executor: the installed engine is hidden, and so is
# whatever executors must do without.
SITECUSTOMIZE = """
import sys

BLOCKED = {blocked!r}


class Blocker:
    @staticmethod
    def find_spec(name, path=None, target=None):
        if name.partition(".")[0] in BLOCKED:
            raise ModuleNotFoundError(f"No module named {{name!r}}: blocked", name=name)


sys.meta_path[:] = [f for f in sys.meta_path if "editable" not in getattr(f, "__module__", "")]
sys.path[:] = [p for p in sys.path if p != {root!r}]
sys.meta_path.insert(0, Blocker)
"""
BLOCKED = {
    "torch", "sklearn", "scipy", "pydantic", "yaml", "rich", "delta", "xxhash", "safetensors",
    "tensorboard", "joblib", "textblob", "snorkel",
}  # fmt: skip

# What executors have besides where they score.
SCORING = {"torch", "sklearn", "scipy", "safetensors", "joblib"}
# And a folder that they can't read, since all of a test's machines are one.
UNREADABLE = """
def hide(event, arguments):
    if event == "open" and str(arguments[0]).startswith({folder!r}):
        raise PermissionError(13, "not on this machine", arguments[0])


sys.addaudithook(hide)
"""

SLICES = """
import re
import pandas as pd
from engine import SlicingFunction, preprocessor, slicing_function
from words import PLEAS, any_word, first

please = SlicingFunction("please", any_word, resources={"words": PLEAS})

@preprocessor(memoize=True)
def split(x):
    x.words = x.text.split()
    return x

@slicing_function(pre=[split])
def short(x):
    return len(x.words) < 5

@slicing_function()
def shouts(x):
    import late
    return late.loud(first(x.text))

@slicing_function()
def link(text: pd.Series):
    return text.str.contains(r"\\w+\\.ly")
"""
WORDS = """
import functools

PLEAS = ["please", "plz"]

def any_word(x, words):
    return any(word in x.text.lower() for word in words)

@functools.lru_cache(maxsize=None)
def first(text):
    return text.split()[:1]
"""
# Doesn't pickle: executors run it again.
LATE = """
import threading

LOCK = threading.Lock()

def loud(words):
    with LOCK:
        return words == [w.upper() for w in words]
"""
PROJECT = """
name: cluster
root: {root}
source: {{table: {source}}}
key: comment_id
text: text
label: label
split: split
sf_modules: [my_slices.py]
slices: [{{name: long, where: "length(text) > 60"}}]
metrics: [accuracy, f1, roc_auc]
predictions: {{given: {{table: {predictions}, columns: {{pred: label}}}}}}
"""


def free_port() -> int:
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        return int(s.getsockname()[1])


def environment(**more: str) -> dict[str, str]:
    hidden = ("PYTHONPATH", "SPARK_CONF_DIR", "PYSPARK_GATEWAY_PORT", "PYSPARK_GATEWAY_SECRET")
    kept = {k: v for k, v in os.environ.items() if k not in hidden}
    return {
        **kept,
        "SPARK_HOME": str(SPARK_HOME),
        "SPARK_LOCAL_IP": "127.0.0.1",
        "PYSPARK_PYTHON": sys.executable,
        **more,
    }


@pytest.fixture(scope="module")
def master(tmp_path_factory):
    """Start a Master and two Workers; give the master's URL."""
    folder = tmp_path_factory.mktemp("cluster")
    url = f"spark://127.0.0.1:{free_port()}"
    spark_class = [str(SPARK_HOME / "bin" / "spark-class")]
    host, port = url.removeprefix("spark://").split(":")
    lead = [CLASS.format("master", "Master"), "--host", host, "--port", port, "--webui-port", "0"]
    hand = [CLASS.format("worker", "Worker"), url, "--host", host, "--webui-port", "0"]
    hand += ["--cores", "1", "--memory", "1g"]
    running = []
    for i, arguments in enumerate((lead, hand, hand)):
        work = folder / str(i)
        work.mkdir()
        log = (work / "log").open("w")
        running.append(
            subprocess.Popen(
                [*spark_class, *arguments], cwd=work, stdout=log, stderr=log, env=environment()
            )
        )
    try:
        wait_for(folder / "0" / "log", "Registering worker", 2)
        yield url
    finally:
        for process in running:
            process.terminate()
        for process in running:
            process.wait(timeout=30)


def wait_for(log: Path, text: str, times: int, seconds: float = 60) -> None:
    end = time.monotonic() + seconds
    while log.read_text().count(text) < times:
        assert time.monotonic() < end, log.read_text()
        time.sleep(0.2)


@pytest.fixture(scope="module")
def package(tmp_path_factory) -> Path:
    """Make the zip that `make dist` makes."""
    dist = tmp_path_factory.mktemp("dist")
    made = run(["make", "--no-print-directory", "dist", f"DIST={dist}"], ROOT)
    assert made.returncode == 0, made.stderr
    (found,) = dist.glob("*.zip")
    return found


@pytest.fixture(scope="module")
def projects(tmp_path_factory):
    """Write the same project twice, for the cluster and for a local run, over one source."""
    from engine.project.demo_data import generate_comments

    folder = tmp_path_factory.mktemp("projects")
    comments = generate_comments(400)
    source, predictions = folder / "source.parquet", folder / "predictions.parquet"
    comments.to_parquet(source)
    probs = comments["label"].map(lambda y: [0.8, 0.2] if y == 0 else [0.3, 0.7])
    comments[["comment_id", "label"]].assign(prob=probs).to_parquet(predictions)
    (folder / "my_slices.py").write_text(SLICES)
    (folder / "words.py").write_text(WORDS)
    (folder / "late.py").write_text(LATE)
    for name in ("cluster", "local"):
        text = PROJECT.format(root=folder / name, source=source, predictions=predictions)
        (folder / f"{name}.yaml").write_text(text)
    return folder


def run(command: list[str], folder: Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        command, cwd=folder, capture_output=True, text=True, env=environment(), check=False
    )


def submit(
    job: str, project: Path, options: list[str], *arguments: str
) -> subprocess.CompletedProcess[str]:
    spark_submit = str(SPARK_HOME / "bin" / "spark-submit")
    script = str(ROOT / "jobs" / f"{job}.py")
    command = [spark_submit, *options, script, "--project", str(project), *arguments]
    return run(command, project.parent)


def errors(ran: subprocess.CompletedProcess[str]) -> list[str]:
    # spark-submit joins a Python driver's stderr to its stdout.
    return [line for line in ran.stdout.splitlines() if line.startswith("error: ")]


@pytest.fixture
def options(master, tmp_path) -> list[str]:
    """Options of spark-submit, without the engine's zip."""
    return options_for(master, tmp_path)


def options_for(master: str, folder: Path, allowed: set[str] = frozenset(), more: str = ""):
    text = SITECUSTOMIZE.format(blocked=BLOCKED - allowed, root=str(ROOT)) + more
    (folder / "sitecustomize.py").write_text(text)
    conf = {
        "spark.executorEnv.PYTHONPATH": str(folder),
        "spark.executor.extraJavaOptions": os.environ["SPARK_DAEMON_JAVA_OPTS"],
        "spark.sql.shuffle.partitions": "3",
        "spark.databricks.delta.snapshotPartitions": "1",
        "spark.ui.enabled": "false",
    }
    jars = ",".join(str(jar) for jar in delta_jars())
    pairs = [word for k, v in conf.items() for word in ("--conf", f"{k}={v}")]
    return ["--master", master, "--jars", jars, *pairs]


def test_label_and_evaluate_on_a_cluster_give_the_tables_of_a_local_run(
    options, package, projects, spark
):
    for job in ("label_slices", "evaluate_slices"):
        ran = submit(job, projects / "cluster.yaml", [*options, "--py-files", str(package)])
        assert ran.returncode == 0, ran.stdout
        assert "wrote " in ran.stdout
        local = ["--project", str(projects / "local.yaml")]
        here = run([sys.executable, "-m", f"jobs.{job}", *local], ROOT)
        assert here.returncode == 0, here.stderr
    for table, run_columns in {
        "masks": [],
        "slices": ["changed_at"],
        "coverage": ["run_ts", "mask_identity"],  # the identity is the mask table's own id
        "metrics": ["run_ts", "run_id"],  # the id covers the tables' places
    }.items():
        both = [
            spark.read.format("delta").load(str(projects / run / table)).drop(*run_columns)
            for run in ("cluster", "local")
        ]
        assert both[0].count() == both[1].count() > 0
        assert both[0].exceptAll(both[1]).isEmpty(), table


def test_a_checkpoint_is_sent_to_executors_that_can_not_read_its_path(
    master, package, projects, tmp_path, spark
):
    from engine.classifier.bases import build_base
    from engine.classifier.checkpoint import load, save
    from engine.classifier.features.text import BagOfWords
    from engine.classifier.model import SlicingClassifier

    comments = pd.read_parquet(projects / "source.parquet")
    features, spec = BagOfWords.fit(comments.text), {"kind": "mlp", "layers": 1, "width": 8}
    base, slices = build_base(spec, features.width), {"long": "f1"}
    model = SlicingClassifier(base.module, base.width, list(slices))
    root = projects / "scored"
    folder = root / "models" / "slice_aware"
    save(folder, model, features=features, base=spec, classes=[0, 1], slices=slices, facts={})

    options = options_for(master, tmp_path, SCORING, UNREADABLE.format(folder=str(folder)))
    options += ["--py-files", str(package)]
    sent = ["--send", "--heads", f"root={root}"]
    ran = submit("score_table", projects / "cluster.yaml", options, *sent)
    assert ran.returncode == 0, ran.stdout
    found = spark.read.format("delta").load(str(root / "predictions_slice_aware")).toPandas()
    found = found.set_index("comment_id").loc[comments.comment_id]
    wanted = load(folder).predict(comments, heads=True)
    assert found.pred.tolist() == wanted.pred.tolist()
    assert [p[1] for p in found.prob] == pytest.approx(wanted.prob_1.tolist(), abs=1e-6)
    assert [row["long"] for row in found.attention] == pytest.approx(
        wanted.attention_long.tolist(), abs=1e-6
    )


def test_without_the_zip_one_sentence_says_what_executors_lack(options, projects):
    root = f"root={projects / 'no_zip'}"
    ran = submit("label_slices", projects / "cluster.yaml", options, root)
    assert ran.returncode == 2
    assert errors(ran) == [
        "error: Spark's executors cannot import 'engine': pass the zip of `make dist` with "
        "--py-files for the engine, and install what slicing functions import on every worker"
    ]
    assert not (projects / "no_zip" / "masks").exists()


def test_without_deltas_jars_one_sentence_says_how_to_start(projects):
    ran = submit("label_slices", projects / "cluster.yaml", ["--master", "local[1]"])
    assert ran.returncode == 2
    assert errors(ran) == [
        "error: Delta Lake is not on Spark's class path: start spark-submit with --packages "
        "io.delta:delta-spark_4.1_2.13:4.3.1 (or --jars and the JARs themselves)"
    ]


def test_what_the_zip_and_the_wheel_hold(package):
    (wheel,) = package.parent.glob("*.whl")
    for archive, holds in ((package, {"engine", "sfs"}), (wheel, {"engine", "jobs", "sfs"})):
        tops = {name.partition("/")[0] for name in zipfile.ZipFile(archive).namelist()}
        assert {t for t in tops if not re.fullmatch(r"slice_engine-.*\.dist-info", t)} == holds
