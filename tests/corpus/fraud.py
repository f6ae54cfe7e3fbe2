"""Card payments: what an analyst would rule to be looked at."""

import hashlib
import ipaddress
import math
from datetime import datetime, timedelta, timezone
from decimal import ROUND_HALF_UP, Decimal
from zoneinfo import ZoneInfo

import numpy as np
import pyarrow as pa

from engine import slicing_function

SCHEMA = pa.schema(
    [
        ("txn_id", pa.string()),
        ("amount", pa.decimal128(12, 2)),
        ("fee", pa.decimal128(8, 4)),
        ("avg_amount", pa.float64()),
        ("currency", pa.string()),
        ("card", pa.string()),
        ("card_country", pa.string()),
        ("ip", pa.string()),
        ("ip_country", pa.string()),
        ("merchant", pa.string()),
        ("mcc", pa.int32()),
        ("when", pa.timestamp("us", "UTC")),
        ("previous", pa.timestamp("us", "UTC")),
        ("account_opened", pa.date32()),
        ("attempts", pa.int16()),
        ("recent_amounts", pa.list_(pa.float64())),
        ("countries_seen", pa.list_(pa.string())),
        ("lat", pa.float64()),
        ("lon", pa.float64()),
        ("home", pa.struct([("lat", pa.float64()), ("lon", pa.float64())])),
        ("device", pa.map_(pa.string(), pa.string())),
        ("email", pa.string()),
    ]
)


def utc(*parts):
    return datetime(*parts, tzinfo=timezone.utc)


POOLS = {
    "txn_id": ["t-001", "t-002", "T999", "a1b2c3", "00000", "", None],
    "amount": [
        *map(Decimal, ["0.00", "1.00", "9.99", "100.00", "250.50", "999.99", "1000.00", "5000.00"]),
        *map(Decimal, ["-20.00", "123456.78", "49.95", "9500.00"]),
        None,
    ],
    "fee": [Decimal("0.0000"), Decimal("0.2500"), Decimal("1.9999"), Decimal("25.0000"), None],
    "avg_amount": [0.0, 12.5, 80.0, 250.0, 1e6, float("nan"), None],
    "currency": ["USD", "EUR", "usd", "JPY", "XBT", "", None],
    "card": [
        "4111111111111111",
        "5500 0000 0000 0004",
        "4111-1111-1111-1112",
        "340000000000009",
        "",
        "abcd",
        None,
    ],
    "card_country": ["US", "DE", "NG", "GB", "BR", None],
    "ip": ["8.8.8.8", "10.0.0.7", "192.168.1.20", "2001:db8::1", "999.1.1.1", "", None],
    "ip_country": ["US", "US", "RU", "NG", "GB", "??", None],
    "merchant": [
        "AMZN Mktp US*2K4",
        "PAYPAL *JOHNDOE",
        "Shell Oil 5742",
        "CRYPTO-EXCHANGE LTD",
        "gift cards 4 u",
        "",
        "Bäckerei Müller",
        None,
    ],
    "mcc": [5411, 5999, 6051, 7995, 4829, 0, None],
    "when": [
        utc(2024, 3, 10, 6, 59),
        utc(2024, 3, 10, 7, 1),
        utc(2024, 5, 31, 23, 30),
        utc(2024, 6, 1, 3, 15),
        utc(2024, 6, 3, 14, 0),
        utc(2024, 6, 7, 18, 45, 30),
        utc(2023, 12, 31, 23, 59, 59, 999999),
        None,
    ],
    "previous": [
        utc(2024, 3, 10, 6, 58, 30),
        utc(2024, 5, 31, 23, 29, 59),
        utc(2024, 6, 1, 3, 10),
        utc(2024, 6, 3, 13, 59),
        utc(2024, 1, 1),
        None,
    ],
    "account_opened": [
        utc(2024, 6, 1).date(),
        utc(2015, 1, 31).date(),
        utc(2024, 5, 30).date(),
        utc(2023, 12, 31).date(),
        None,
    ],
    "attempts": [0, 1, 2, 3, 7, 100, None],
    "recent_amounts": [
        [],
        [10.0, 12.0, 11.0],
        [1.0, 1.0, 1.0, 1.0],
        [5.0, 500.0, 5000.0],
        [None, 20.0],
        [999.0, 998.0, 997.0],
        [float("nan"), 3.0],
        None,
    ],
    "countries_seen": [[], ["US"], ["US", "DE"], ["US", "RU", "NG", "US"], [None], None],
    "lat": [40.7, 51.5, -33.9, 0.0, 91.0, float("nan"), None],
    "lon": [-74.0, -0.1, 151.2, 0.0, 181.0, None],
    "home": [
        {"lat": 40.7, "lon": -74.0},
        {"lat": 51.5, "lon": None},
        {"lat": -33.8, "lon": 151.0},
        None,
    ],
    "device": [
        {"os": "android", "rooted": "true"},
        {"os": "iOS", "rooted": "false", "app": "5.2.1"},
        {"app": "4.10.0"},
        {"os": "Windows", "app": "5.0"},
        {},
        None,
    ],
    "email": [
        "jane.doe@example.com",
        "x9f8z7q@mailinator.com",
        "bob+test@gmail.com",
        "no-at-sign",
        "A.B@EXAMPLE.ORG",
        "",
        None,
    ],
}
ROWS = [
    {
        "txn_id": "t-900",
        "amount": Decimal("9900.00"),
        "currency": "USD",
        "avg_amount": 20.0,
        "card_country": "US",
        "ip_country": "NG",
        "attempts": 5,
        "mcc": 6051,
        "when": utc(2024, 6, 1, 2, 0),
        "previous": utc(2024, 6, 1, 1, 59, 50),
        "account_opened": utc(2024, 5, 31).date(),
        "lat": 51.5,
        "lon": -0.1,
        "home": {"lat": 40.7, "lon": -74.0},
        "recent_amounts": [9.0, 99.0, 999.0],
    },
    {
        "txn_id": "t-901",
        "amount": Decimal("19.99"),
        "fee": Decimal("0.6000"),
        "currency": "EUR",
        "when": utc(2024, 6, 5, 10, 0),
        "account_opened": utc(2012, 2, 29).date(),
        "lat": 40.71,
        "lon": -74.01,
        "home": {"lat": 40.7, "lon": -74.0},
        "avg_amount": 21.0,
        "card_country": "DE",
        "ip_country": "DE",
        "card": "4012888888881881",
        "merchant": "Corner shop",
        "countries_seen": ["DE"],
        "device": {"os": "ios"},
    },
]

HIGH_RISK = frozenset({"NG", "RU", "KP"})
RISKY_MCC = {6051: 0.9, 7995: 0.8, 4829: 0.7}
TO_USD = {"USD": Decimal("1"), "EUR": Decimal("1.08"), "JPY": Decimal("0.0064")}
LIMIT = Decimal("1000")
DISPOSABLE = ["mailinator.com", "10minutemail.com", "guerrillamail.com"]
NEW_YORK = ZoneInfo("America/New_York")


@slicing_function()
def large_amount(t):
    return t.amount > 1000


@slicing_function()
def over_limit(t):
    return t.amount >= LIMIT


@slicing_function()
def round_amount(t):
    return t.amount % 100 == 0 and t.amount > 0


@slicing_function()
def just_under_reporting(t):
    return Decimal("9000") <= t.amount < Decimal("10000")


@slicing_function()
def ends_in_99(t):
    return str(t.amount).endswith("99")


@slicing_function()
def refund(t):
    return t.amount.is_signed() and not t.amount.is_zero()


@slicing_function()
def large_in_dollars(t):
    rate = TO_USD.get(t.currency.upper())
    if rate is None:
        return None
    return (t.amount * rate).quantize(Decimal("0.01"), rounding=ROUND_HALF_UP) > Decimal("500.00")


@slicing_function()
def fee_over_two_percent(t):
    if not t.amount:
        return False
    return t.fee / t.amount > Decimal("0.02")


@slicing_function()
def fee_by_float(t):
    return float(t.fee) > 0.02 * abs(float(t.amount))


@slicing_function()
def ten_times_average(t):
    avg = t.avg_amount
    if avg is None or np.isnan(avg) or avg == 0:
        return False
    return float(t.amount) / avg >= 10


@slicing_function()
def log_jump(t):
    if t.avg_amount > 0 and t.amount > 0:
        return math.log10(float(t.amount)) - math.log10(t.avg_amount) > 1
    return False


@slicing_function()
def unknown_currency(t):
    return t.currency not in TO_USD


@slicing_function()
def country_mismatch(t):
    return t.card_country != t.ip_country


@slicing_function()
def mismatch_where_known(t):
    return bool(t.card_country and t.ip_country and t.card_country != t.ip_country)


@slicing_function()
def high_risk_country(t):
    return t.card_country in HIGH_RISK or t.ip_country in HIGH_RISK


@slicing_function()
def risky_merchant_code(t):
    return RISKY_MCC.get(t.mcc, 0.0) >= 0.75


@slicing_function()
def new_country(t):
    return t.ip_country not in (t.countries_seen or [])


@slicing_function()
def traveller(t):
    return len(set(t.countries_seen)) >= 2


@slicing_function()
def many_attempts(t):
    return t["attempts"] >= 3


@slicing_function()
def rapid_fire(t):
    """A minute or less after the payment before."""
    if t.previous is None:
        return False
    return t.when - t.previous < timedelta(minutes=1) and t.when >= t.previous


@slicing_function()
def seconds_since_previous(t):
    gap = (t.when - t.previous).total_seconds()
    return 0 <= gap <= 300


@slicing_function()
def dormant_account(t):
    return (t.when - t.previous).days > 90


@slicing_function()
def night_in_new_york(t):
    local = t.when.astimezone(NEW_YORK)
    return local.hour < 6


@slicing_function()
def weekend_utc(t):
    return t.when.isoweekday() in (6, 7)


@slicing_function()
def friday_night(t):
    return t.when.weekday() == 4 and t.when.hour >= 18


@slicing_function()
def month_end(t):
    return (t.when + timedelta(days=1)).month != t.when.month


@slicing_function()
def year_end(t):
    return t.when.timetuple().tm_yday >= 365


@slicing_function()
def young_account(t):
    age = (t.when.date() - t.account_opened).days
    return age <= 7


@slicing_function()
def opened_this_year(t):
    return t.account_opened.year == t.when.year


@slicing_function()
def rising_amounts(t):
    a = [v for v in t.recent_amounts if v is not None]
    return len(a) >= 3 and all(x < y for x, y in zip(a, a[1:]))


@slicing_function()
def same_amount_again(t):
    return len(t.recent_amounts) > 2 and len(set(t.recent_amounts)) == 1


@slicing_function()
def sum_of_recent(t):
    return sum(t.recent_amounts or []) > 1000


@slicing_function()
def max_jump(t):
    amounts = sorted(v for v in t.recent_amounts if v == v)
    if len(amounts) < 2:
        return False
    return amounts[-1] > 10 * amounts[0]


@slicing_function()
def spread_by_numpy(t):
    if not t.recent_amounts or None in t.recent_amounts:
        return False
    return bool(np.std(t.recent_amounts) > 100)


def luhn(number):
    digits = [int(d) for d in number if d.isdigit()]
    if len(digits) < 12:
        return False
    total = 0
    for i, d in enumerate(reversed(digits)):
        if i % 2 == 1:
            d *= 2
            if d > 9:
                d -= 9
        total += d
    return total % 10 == 0


@slicing_function()
def invalid_card(t):
    return not luhn(t.card)


@slicing_function()
def amex(t):
    return t.card.replace(" ", "").replace("-", "")[:2] in ("34", "37")


@slicing_function()
def card_has_letters(t):
    return any(c.isalpha() for c in t.card)


@slicing_function()
def private_ip(t):
    try:
        return ipaddress.ip_address(t.ip).is_private
    except ValueError:
        return False


@slicing_function()
def bad_ip(t):
    parts = t.ip.split(".")
    if len(parts) != 4:
        return True
    return not all(p.isdigit() and int(p) <= 255 for p in parts)


def haversine(lat1, lon1, lat2, lon2):
    lat1, lon1, lat2, lon2 = map(math.radians, (lat1, lon1, lat2, lon2))
    h = (
        math.sin((lat2 - lat1) / 2) ** 2
        + math.cos(lat1) * math.cos(lat2) * math.sin((lon2 - lon1) / 2) ** 2
    )
    return 6371.0 * 2 * math.asin(math.sqrt(h))


@slicing_function()
def far_from_home(t):
    return haversine(t.lat, t.lon, t.home.lat, t.home.lon) > 500


@slicing_function()
def outside_of_box(t):
    lat, lon = t.home
    return not (lat - 1 <= t.lat <= lat + 1 and lon - 1 <= t.lon <= lon + 1)


@slicing_function()
def impossible_place(t):
    return not (-90 <= t.lat <= 90 and -180 <= t.lon <= 180)


@slicing_function()
def null_island(t):
    return t.lat == 0 and t.lon == 0


@slicing_function()
def rooted_phone(t):
    return t.device.get("rooted") == "true"


@slicing_function()
def old_app(t):
    version = t.device.get("app") if t.device else None
    if version is None:
        return False
    return tuple(int(p) for p in version.split(".")) < (5, 1)


@slicing_function()
def disposable_email(t):
    return t.email.rsplit("@", 1)[-1].lower() in DISPOSABLE


@slicing_function()
def plus_address(t):
    local, _, domain = t.email.partition("@")
    return "+" in local and domain == "gmail.com"


@slicing_function()
def random_looking_email(t):
    local = t.email.split("@")[0]
    digits = sum(c.isdigit() for c in local)
    return len(local) > 0 and digits / len(local) > 0.3


@slicing_function()
def gift_or_crypto(t):
    name = t.merchant.lower()
    return any(k in name for k in ["gift", "crypto", "coin"])


@slicing_function()
def paypal_merchant(t):
    prefix = t.merchant.split("*")[0].strip()
    return prefix == "PAYPAL"


@slicing_function()
def tenth_for_audit(t):
    return int(hashlib.md5(t.txn_id.encode()).hexdigest(), 16) % 10 < 3


@slicing_function()
def risk_points(t):
    points = 0
    if t.amount > 1000:
        points += 3
    if t.attempts > 2:
        points += 2
    if t.card_country in HIGH_RISK:
        points += 2
    if t.mcc in RISKY_MCC:
        points += 1
    return points >= 3


@slicing_function()
def risk_score(t):
    score = 0.4 * (t.attempts / 10) + 0.6 * RISKY_MCC.get(t.mcc, 0)
    return round(score, 2) >= 0.5
