"""Readings of machines: numbers, and what engineers think is wrong with them."""

import cmath
import datetime as dt
import math
import struct
from bisect import bisect_right
from fractions import Fraction
from itertools import accumulate, pairwise

import numpy as np
import pandas as pd
import pyarrow as pa

from engine import slicing_function

SCHEMA = pa.schema(
    [
        ("device", pa.string()),
        ("ts", pa.timestamp("us", "UTC")),
        ("local_ts", pa.timestamp("us")),
        ("day", pa.date32()),
        ("celsius", pa.float64()),
        ("volts", pa.float32()),
        ("rpm", pa.int32()),
        ("counter", pa.int64()),
        ("code", pa.int16()),
        ("bits", pa.uint16()),
        ("reading", pa.string()),
        ("samples", pa.list_(pa.float64())),
        ("matrix", pa.list_(pa.list_(pa.int32()))),
        ("limits", pa.struct([("low", pa.float64()), ("high", pa.float64())])),
        ("channels", pa.map_(pa.string(), pa.list_(pa.float64()))),
        ("blob", pa.binary()),
        ("precise", pa.decimal128(20, 6)),
        ("ok", pa.bool_()),
    ]
)


def utc(*parts):
    return dt.datetime(*parts, tzinfo=dt.timezone.utc)


POOLS = {
    "device": ["pump-01", "pump-02", "fan_7", "SENSOR#9", "", None],
    "ts": [
        utc(2024, 2, 29, 12),
        utc(2024, 12, 31, 23, 59, 59, 999999),
        utc(2024, 6, 21, 4, 0, 0),
        utc(1970, 1, 1),
        utc(2024, 6, 22, 16, 30, 15, 250000),
        None,
    ],
    "local_ts": [
        dt.datetime(2024, 2, 29, 13),
        dt.datetime(2025, 1, 1, 0, 59, 59, 999999),
        dt.datetime(2024, 6, 21, 6),
        dt.datetime(1899, 12, 31),
        None,
    ],
    "day": [
        dt.date(2024, 2, 29),
        dt.date(2024, 12, 31),
        dt.date(1, 1, 1),
        dt.date(9999, 12, 31),
        dt.date(2024, 6, 21),
        None,
    ],
    "celsius": [
        -273.15,
        -40.0,
        0.0,
        -0.0,
        20.5,
        36.6,
        100.0,
        1e6,
        float("nan"),
        float("inf"),
        float("-inf"),
        None,
    ],
    "volts": [0.1, 3.3, 5.0, 11.9, 12.0, 230.0, -1.0, float("nan"), None],
    "rpm": [0, 1, 900, 3000, 2**31 - 1, -(2**31), None],
    "counter": [0, 1, 999, 2**53 + 1, 2**63 - 1, -1, -(2**63), None],
    "code": [0, 7, 13, 404, -1, 32767, None],
    "bits": [0, 1, 0b1010, 0xFFFF, 0x8000, 255, None],
    "reading": ["12.5", " 7 ", "1e3", "12,5", "ERR", "nan", "-inf", "0x1F", "", "1_000", "٣", None],
    "samples": [
        [],
        [1.0],
        [1.0, 2.0, 3.0, 4.0],
        [5.0, 5.0, 5.0],
        [9.0, 1.0, 8.0, 2.0],
        [float("nan"), 1.0],
        [None, 2.0, 3.0],
        [1e308, 1e308],
        [-1.0, 0.0, 1.0],
        None,
    ],
    "matrix": [[[1, 2], [3, 4]], [[0]], [], [[1], [2, 3]], [[], [None]], [None, [1, 1]], None],
    "limits": [
        {"low": 0.0, "high": 100.0},
        {"low": None, "high": 50.0},
        {"low": 30.0, "high": 20.0},
        None,
    ],
    "channels": [{"a": [1.0, 2.0], "b": []}, {"a": None}, {"b": [5.0, 7.0, 9.0]}, {}, None],
    "blob": [b"", b"\x01\x02\x03\x04", b"\xff\xff\x00\x00\x01", b"RIFF....", None],
    "precise": [
        pa.scalar(v, pa.string()).cast(pa.decimal128(20, 6)).as_py()
        for v in ("0.000000", "0.000001", "123456.789012", "-5.500000", "99999999.999999")
    ]
    + [None],
    "ok": [True, False, None],
}
ROWS = [
    {
        "device": "pump-01",
        "celsius": 20.0,
        "volts": 3.0,
        "rpm": 300,
        "counter": 10,
        "code": 3,
        "bits": 3,
        "samples": [1.0, 1.0, 1.0, 50.0],
        "limits": {"low": -5.0, "high": 5.0},
        "blob": b"\x00\x00\x80\x3f",
        "reading": "42",
    },
    {
        "device": "fan_1",
        "celsius": 99.5,
        "rpm": 10,
        "counter": 7,
        "code": 4,
        "bits": 9,
        "samples": [0.0, 0.5, -0.5],
        "limits": {"low": 0.0, "high": 10.0},
    },
]

BANDS = [0.0, 15.0, 30.0, 60.0]
NAMES = ["frozen", "cold", "warm", "hot", "danger"]
ERRORS = {7: "overheat", 13: "stall", 404: "missing"}


@slicing_function()
def hot(s):
    return s.celsius > 60


@slicing_function()
def fahrenheit_over_90(s):
    return s.celsius * 9 / 5 + 32 > 90


@slicing_function()
def celsius_missing(s):
    return s.celsius is None or math.isnan(s.celsius)


@slicing_function()
def celsius_not_finite(s):
    return not np.isfinite(s.celsius)


@slicing_function()
def celsius_na(s):
    return bool(pd.isnull(s.celsius))


@slicing_function()
def band_danger(s):
    return NAMES[bisect_right(BANDS, s.celsius)] == "danger"


@slicing_function()
def band_by_loop(s):
    name = NAMES[-1]
    for limit, candidate in zip(BANDS, NAMES):
        if s.celsius < limit:
            name = candidate
            break
    return name in ("cold", "warm")


@slicing_function()
def negative_zero(s):
    return s.celsius == 0 and math.copysign(1, s.celsius) < 0


@slicing_function()
def low_battery(s):
    return 0 < s.volts < 3.3


@slicing_function()
def volts_rounded(s):
    return round(s.volts, 1) == 11.9


@slicing_function()
def volts_close_to_12(s):
    return math.isclose(s.volts, 12.0, rel_tol=0.05)


@slicing_function()
def power(s):
    return s.volts**2 / 10 > 2.4


@slicing_function()
def rms_over_two(s):
    n = len(s.samples)
    if n == 0:
        return False
    return math.sqrt(sum(v * v for v in s.samples) / n) > 2


@slicing_function()
def outlier_in_samples(s):
    if len(s.samples) < 3:
        return False
    values = sorted(s.samples)
    middle = values[len(values) // 2]
    return any(abs(v - middle) > 3 * (abs(middle) + 1) for v in values)


@slicing_function()
def samples_by_numpy(s):
    a = np.asarray(s.samples, dtype=float)
    return bool(a.size > 1 and a.max() - a.min() > 2)


@slicing_function()
def flat_line(s):
    return len(s.samples) > 2 and min(s.samples) == max(s.samples)


@slicing_function()
def rising(s):
    return len(s.samples) > 1 and all(b > a for a, b in pairwise(s.samples))


@slicing_function()
def crosses_zero(s):
    signs = [v > 0 for v in s.samples]
    return True in signs and False in signs


@slicing_function()
def running_total(s):
    return any(t > 5 for t in accumulate(s.samples))


@slicing_function()
def last_is_largest(s):
    return s.samples.index(max(s.samples)) == len(s.samples) - 1


@slicing_function()
def mean_above_first(s):
    first, *rest = s.samples
    return bool(rest) and sum(rest) / len(rest) > first


@slicing_function()
def samples_missing(s):
    return s.samples is not None and None in s.samples


@slicing_function()
def every_other_sample(s):
    return sum(s.samples[::2]) > sum(s.samples[1::2])


@slicing_function()
def sample_overflow(s):
    return math.isinf(sum(v for v in s.samples if v is not None))


@slicing_function()
def trace_of_matrix(s):
    return sum(row[i] for i, row in enumerate(s.matrix)) > 4


@slicing_function()
def ragged(s):
    return len({len(row) for row in s.matrix if row is not None}) > 1


@slicing_function()
def flattened(s):
    flat = [v for row in s.matrix or [] for v in row or []]
    return len(flat) >= 3


@slicing_function()
def out_of_limits(s):
    return not (s.limits.low <= s.celsius <= s.limits.high)


@slicing_function()
def limits_swapped(s):
    low, high = s.limits.low, s.limits.high
    return low > high


@slicing_function()
def limits_by_get(s):
    return s.limits is not None and s.limits["low"] is None


@slicing_function()
def channel_b_long(s):
    return len(s.channels.get("b") or []) >= 2


@slicing_function()
def any_channel_silent(s):
    return any(not values for values in s.channels.values())


@slicing_function()
def spinning(s):
    return s.rpm > 0


@slicing_function()
def rpm_scaled(s):
    return s.rpm * 1000 > 2**31


@slicing_function()
def rpm_sign(s):
    return -1 if s.rpm is None else int(s.rpm < 0)


@slicing_function()
def counter_next(s):
    return s.counter + 1 > 2**63 - 1


@slicing_function()
def counter_as_float(s):
    return float(s.counter) == 2.0**53


@slicing_function()
def counter_mod(s):
    return s.counter % 7 == 0


@slicing_function()
def counter_floor(s):
    return s.counter // 10 == -1


@slicing_function()
def divmod_code(s):
    q, r = divmod(s.code, 10)
    return q > 0 and r == 4


@slicing_function()
def error_name(s):
    return ERRORS.get(s.code, "ok").startswith("o") and s.code != 0


@slicing_function()
def odd_parity(s):
    return bin(s.bits).count("1") % 2 == 1


@slicing_function()
def second_bit(s):
    return bool(s.bits & 0b10)


@slicing_function()
def high_byte(s):
    return (s.bits >> 8) != 0


@slicing_function()
def as_hex(s):
    return f"{s.bits:04x}".endswith("ff")


@slicing_function()
def reading_number(s):
    try:
        return float(s.reading) > 10
    except (TypeError, ValueError):
        return False


@slicing_function()
def reading_integer(s):
    try:
        int(s.reading)
    except ValueError:
        return False
    else:
        return True


@slicing_function()
def reading_digits(s):
    return s.reading.strip().isdigit()


@slicing_function()
def reading_finite(s):
    value = None
    try:
        value = float(s.reading.replace(",", "."))
    except ValueError:
        pass
    finally:
        found = value is not None
    return found and math.isfinite(value)


@slicing_function()
def blob_float(s):
    if len(s.blob) != 4:
        return None
    return struct.unpack("<f", s.blob)[0] == 1.0


@slicing_function()
def blob_header(s):
    return s.blob[:4] == b"RIFF"


@slicing_function()
def blob_sum(s):
    return sum(s.blob) % 256 > 5


@slicing_function()
def precise_positive(s):
    return s.precise > 0


@slicing_function()
def precise_fraction(s):
    return Fraction(s.precise).denominator > 1


@slicing_function()
def precise_to_float(s):
    return float(s.precise) * 2 > 200_000


@slicing_function()
def last_microsecond(s):
    return s.ts.microsecond == 999_999


@slicing_function()
def end_of_year(s):
    return s.ts.replace(tzinfo=None) >= dt.datetime(2024, 12, 31)


@slicing_function()
def clock_ahead(s):
    return (s.local_ts - s.ts.replace(tzinfo=None)) == dt.timedelta(hours=1)


@slicing_function()
def noon_or_later(s):
    return s.local_ts.time() >= dt.time(12)


@slicing_function()
def far_dates(s):
    return s.day.year < 1900 or s.day.year > 2100


@slicing_function()
def day_of_year(s):
    return s.day.timetuple().tm_yday > 180


@slicing_function()
def iso_text(s):
    return s.day.isoformat()[:7] == "2024-06"


@slicing_function()
def ordinal_even(s):
    return s.day.toordinal() % 2 == 0


@slicing_function()
def trusted(s):
    return s.ok is not False


@slicing_function()
def device_kind(s):
    return s.device.replace("_", "-").split("-")[0].lower() in {"pump", "fan"}


@slicing_function()
def angle(s):
    return cmath.phase(complex(s.celsius, s.rpm)) > 1.5


def clipped(value, low, high):
    return max(low, min(high, value))


@slicing_function()
def clipped_in_range(s):
    return clipped(s.celsius, 0, 50) == s.celsius
