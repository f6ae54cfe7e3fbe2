"""Slicing functions as people write them, in Spark: the masks of a plain loop over the rows."""

from __future__ import annotations

import pyarrow as pa
import pytest
from pyspark.sql.pandas.types import from_arrow_schema

from engine import SparkSFApplier, compile_slices
from engine.compile.tiers import Tier
from tests.corpus import DOMAINS, domains
from tests.corpus.ask import answers
from tests.fuzz.oracle import FAULT, IN, NULL, OUT

KEY = "row_number"
MASKS = {None: NULL, True: IN, False: OUT}
SIGNED = {pa.uint8(): pa.int16(), pa.uint16(): pa.int32()}  # Spark has no others


@pytest.mark.parametrize("name", DOMAINS)
def test_masks_of_spark_are_those_of_a_loop(name, spark):
    domain = next(d for d in domains() if d.name == name)
    expected = answers(domain.sfs, domain.table)
    sfs = [sf for sf in domain.sfs if FAULT not in expected[sf.name]]  # a fault ends the action
    kinds = [SIGNED.get(f.type, f.type) for f in domain.table.schema]
    table = domain.table.cast(pa.schema(zip(domain.table.column_names, kinds, strict=True)))
    table = table.append_column(KEY, pa.array(range(len(table)), pa.int64()))
    df = spark.createDataFrame(table, from_arrow_schema(table.schema, prefer_timestamp_ntz=True))
    _check(SparkSFApplier(sfs).apply(df.repartition(3)), sfs, expected)
    native = compile_slices(sfs, df.schema, tier="spark")
    _check(native.apply(df, keep=[KEY]), sfs, expected)
    assert Tier.SPARK in native.tiers.values()


def _check(masks, sfs, expected):
    found = masks.toArrow().sort_by(KEY)
    for sf in sfs:
        assert [MASKS[m] for m in found[sf.id].to_pylist()] == expected[sf.name].tolist(), sf.name
