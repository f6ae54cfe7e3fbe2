"""What our functions do in Spark's Python workers besides their work."""

from __future__ import annotations

import sys
from zipimport import zipimporter

from engine.plain import obey


def begin(plain: bool) -> None:
    """Begin a task: as plain as the driver that sent it, and with imports that stay."""
    obey(plain)
    keep_imports()


def keep_imports() -> None:
    """Spare a worker's next tasks reading the directory of Spark's own zip file again.

    Before each task Spark lets Python forget what it knows of places to import from. Of a zip file
    its directory is then read anew, at once and for each package that was imported from it: for
    ``pyspark.zip`` a quarter of a second a task. Packages that aren't among Python's importers are
    looked up by the directory that was read first, which is right, since the file doesn't change.
    """
    for path, importer in list(sys.path_importer_cache.items()):
        if isinstance(importer, zipimporter) and importer.archive.endswith("pyspark.zip"):
            del sys.path_importer_cache[path]
