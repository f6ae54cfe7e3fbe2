"""Workers don't read Spark's zip file again, and still find what is in it."""

import importlib
import sys
import zipfile
from zipimport import zipimporter

from engine.workers import keep_imports


def importers():
    return [p for p, found in sys.path_importer_cache.items() if isinstance(found, zipimporter)]


def test_spark_packages_are_off_the_list_and_found_again(tmp_path, monkeypatch):
    for name in ("pyspark.zip", "other.zip"):
        made = tmp_path / name
        package = f"in_{made.stem}"
        with zipfile.ZipFile(made, "w") as file:
            for part in ("__init__", "one", "two"):
                file.writestr(f"{package}/{part}.py", f"name = {part!r}")
        monkeypatch.syspath_prepend(str(made))
        importlib.import_module(f"{package}.one")
    before = importers()
    keep_imports()
    assert [p for p in before if "pyspark.zip" in p]
    assert importers() == [p for p in before if "pyspark.zip" not in p]
    importlib.invalidate_caches()
    assert importlib.import_module("in_pyspark.two").name == "two"
    for name in [m for m in sys.modules if m.startswith(("in_pyspark", "in_other"))]:
        del sys.modules[name]
