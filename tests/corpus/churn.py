"""Subscribers: who may leave, by rules that a growth team writes."""

import statistics
from datetime import date, datetime, timedelta, timezone
from decimal import Decimal
from enum import Enum
from typing import NamedTuple

import numpy as np
import pyarrow as pa

from engine import slicing_function

SCHEMA = pa.schema(
    [
        ("user_id", pa.int64()),
        ("plan", pa.string()),
        ("mrr", pa.decimal128(9, 2)),
        ("started", pa.date32()),
        ("ends", pa.date32()),
        ("last_login", pa.timestamp("us", "UTC")),
        ("logins", pa.list_(pa.int32())),
        ("tickets", pa.int32()),
        ("nps", pa.int8()),
        ("seats", pa.int32()),
        ("seats_used", pa.int32()),
        ("usage", pa.map_(pa.string(), pa.int64())),
        ("status", pa.string()),
        ("notes", pa.string()),
        ("timezone", pa.string()),
        ("payments", pa.list_(pa.struct([("on", pa.date32()), ("ok", pa.bool_())]))),
        ("satisfaction", pa.float64()),
        ("is_company", pa.bool_()),
    ]
)


def utc(*parts):
    return datetime(*parts, tzinfo=timezone.utc)


def paid(*on_and_ok):
    return [{"on": on, "ok": ok} for on, ok in on_and_ok]


POOLS = {
    "user_id": [*range(1, 30), 0, 10**12, None],
    "plan": ["free", "basic", "pro", "Pro ", "enterprise", "legacy-2019", "", None],
    "mrr": [*map(Decimal, ["0.00", "9.90", "49.00", "499.00", "1200.50"]), None],
    "started": [date(2024, 6, 1), date(2023, 6, 30), date(2020, 2, 29), date(2024, 1, 31), None],
    "ends": [date(2024, 7, 1), date(2024, 12, 31), date(2024, 6, 1), date(2030, 1, 1), None],
    "last_login": [
        utc(2024, 6, 29, 22, 30),
        utc(2024, 6, 1),
        utc(2024, 1, 15, 8),
        utc(2022, 5, 5),
        utc(2024, 6, 30, 5, 45, 1),
        None,
    ],
    "logins": [
        [20, 18, 15, 9, 2],
        [1, 2, 3, 4],
        [0, 0, 0],
        [],
        [5, 5, 5, 5],
        [7, None, 3],
        [30],
        None,
    ],
    "tickets": [0, 0, 1, 2, 5, 12, None],
    "nps": [0, 3, 6, 7, 8, 9, 10, -1, None],
    "seats": [0, 1, 5, 50, 1000, None],
    "seats_used": [0, 1, 4, 10, 990, None],
    "usage": [
        {"export": 0, "api": 100},
        {"api": 5, "dashboard": 2, "export": 9},
        {},
        {"dashboard": None},
        {"login": 1},
        None,
    ],
    "status": ["active", "trialing", "past_due", "canceled", "ACTIVE", "", None],
    "notes": [
        "asked how to cancel",
        "Very happy, wants more seats",
        "price too high; competitor X",
        "2024-05-02 call: no answer\n2024-06-03 call: will renew",
        "",
        "cancel!!",
        None,
    ],
    "timezone": ["Europe/Berlin", "America/New_York", "Asia/Tokyo", "Mars/Base", "", None],
    "payments": [
        [],
        paid((date(2024, 4, 1), True), (date(2024, 5, 1), True)),
        paid((date(2024, 4, 1), True), (date(2024, 5, 1), False), (date(2024, 6, 1), False)),
        paid((date(2024, 6, 1), None)),
        paid((None, False)),
        None,
    ],
    "satisfaction": [1.0, 0.75, 0.5, 0.0, -0.25, float("nan"), None],
    "is_company": [True, False, None],
}
ROWS = [
    {
        "user_id": 900,
        "plan": "pro",
        "mrr": Decimal("99.00"),
        "started": date(2021, 3, 1),
        "ends": date(2024, 7, 5),
        "last_login": utc(2024, 2, 1),
        "logins": [30, 20, 10, 0],
        "tickets": 6,
        "nps": 2,
        "seats": 10,
        "seats_used": 1,
        "status": "active",
        "notes": "will cancel next month",
        "satisfaction": 0.1,
        "is_company": True,
    },
    {
        "user_id": 901,
        "plan": "enterprise",
        "mrr": Decimal("5000.00"),
        "nps": 10,
        "seats": 100,
        "seats_used": 98,
        "logins": [1, 5, 9, 50],
        "usage": {"api": 10**9, "export": 50},
        "last_login": utc(2024, 6, 30),
        "started": date(2019, 1, 1),
        "ends": date(2025, 1, 1),
    },
]

NOW = utc(2024, 6, 30, 12)
TODAY = NOW.date()
PLAN_RANK = {"free": 0, "basic": 1, "pro": 2, "enterprise": 3}
LEAVING = ("cancel", "leave", "competitor", "too expensive", "price too high")


class Status(Enum):
    ACTIVE = "active"
    TRIAL = "trialing"
    LATE = "past_due"
    GONE = "canceled"


class Limits(NamedTuple):
    idle_days: int = 30
    tickets: int = 4


LIMITS = Limits()


@slicing_function()
def idle(u):
    return (NOW - u.last_login).days > LIMITS.idle_days


@slicing_function()
def idle_by_constant_delta(u):
    return u.last_login < NOW - timedelta(days=90)


@slicing_function()
def never_logged_in(u):
    return u.last_login is None


@slicing_function()
def logged_in_today(u):
    return u.last_login.date() == TODAY


@slicing_function()
def many_tickets(u):
    return u.tickets > LIMITS.tickets


@slicing_function()
def detractor(u):
    return u.nps is not None and 0 <= u.nps <= 6


@slicing_function()
def promoter(u):
    return u.nps in range(9, 11)


@slicing_function()
def nps_group(u):
    if u.nps is None or u.nps < 0:
        group = "none"
    elif u.nps >= 9:
        group = "promoter"
    elif u.nps >= 7:
        group = "passive"
    else:
        group = "detractor"
    return group == "passive"


@slicing_function()
def paying(u):
    return u.mrr > 0


@slicing_function()
def annual_value(u):
    return u.mrr * 12 >= 1000


@slicing_function()
def per_seat(u):
    try:
        return u.mrr / u.seats > Decimal("20")
    except (ZeroDivisionError, ArithmeticError):
        return False


@slicing_function()
def unused_seats(u):
    if not u.seats:
        return False
    return u.seats_used / u.seats < 0.25


@slicing_function()
def full_house(u):
    return u.seats_used >= 0.95 * u.seats


@slicing_function()
def falling_logins(u):
    l = u.logins
    return len(l) >= 3 and all(l[i] > l[i + 1] for i in range(len(l) - 1))


@slicing_function()
def half_of_before(u):
    n = len(u.logins) // 2
    before, after = sum(u.logins[:n]), sum(u.logins[n:])
    return before > 0 and after < before / 2


@slicing_function()
def no_logins_lately(u):
    return not any(u.logins[-3:])


@slicing_function()
def mean_logins_low(u):
    return statistics.mean(u.logins) < 5 if u.logins and None not in u.logins else False


@slicing_function()
def median_logins(u):
    values = sorted(v for v in u.logins if v is not None)
    if not values:
        return None
    return values[len(values) // 2] >= 5


@slicing_function()
def trend_by_numpy(u):
    y = np.array([v or 0 for v in u.logins], dtype=float)
    if len(y) < 2:
        return False
    return bool(np.polyfit(np.arange(len(y)), y, 1)[0] < -0.5)


@slicing_function()
def steady(u):
    return len(set(u.logins)) == 1


@slicing_function()
def in_trial(u):
    return u.status.lower() == Status.TRIAL.value


@slicing_function()
def status_by_enum(u):
    try:
        return Status(u.status.lower()) in (Status.LATE, Status.GONE)
    except ValueError:
        return False


@slicing_function()
def premium(u):
    return PLAN_RANK.get(u.plan.strip().lower(), 0) >= 2


@slicing_function()
def legacy_plan(u):
    return u.plan.startswith("legacy-") and int(u.plan.rsplit("-", 1)[1]) < 2020


@slicing_function()
def plan_by_match(u):
    match (u.plan, u.is_company):
        case ("enterprise" | "pro", True):
            return True
        case (None, _) | (_, None):
            return None
        case _:
            return False


@slicing_function()
def renewal_soon(u):
    return TODAY <= u.ends <= TODAY + timedelta(days=30)


@slicing_function()
def expired(u):
    return u.ends < TODAY


@slicing_function()
def tenure_years(u):
    return (TODAY - u.started).days / 365.25 >= 3


@slicing_function()
def anniversary_month(u):
    return u.started.month == TODAY.month and u.started.year < TODAY.year


@slicing_function()
def short_contract(u):
    months = (u.ends.year - u.started.year) * 12 + u.ends.month - u.started.month
    return months <= 6


@slicing_function()
def first_of_month(u):
    return u.started == u.started.replace(day=1)


@slicing_function()
def last_payment_failed(u):
    return len(u.payments) > 0 and u.payments[-1].ok is False


@slicing_function()
def two_failures(u):
    return [p.ok for p in u.payments or []].count(False) >= 2


@slicing_function()
def latest_payment(u):
    days = [p.on for p in u.payments if p.on]
    return bool(days) and max(days) < date(2024, 6, 1)


@slicing_function()
def uses_api(u):
    return (u.usage or {}).get("api", 0) > 10


@slicing_function()
def narrow_use(u):
    used = [k for k, n in u.usage.items() if n]
    return len(used) == 1


@slicing_function()
def favourite_feature(u):
    usage = {k: v or 0 for k, v in u.usage.items()}
    return bool(usage) and max(usage, key=usage.get) == "api"


@slicing_function()
def wants_to_leave(u):
    notes = (u.notes or "").lower()
    for phrase in LEAVING:
        if phrase in notes:
            return True
    return False


@slicing_function()
def last_call_in_june(u):
    last = ""
    for line in u.notes.split("\n"):
        if line[:4].isdigit():
            last = line
    return last.startswith("2024-06")


@slicing_function()
def european_user(u):
    continent, _, city = u.timezone.partition("/")
    return continent == "Europe" and city != ""


@slicing_function()
def satisfaction_low(u):
    s = u.satisfaction
    return False if s is None or np.isnan(s) else s < 0.5


@slicing_function()
def company(u):
    return u.is_company == True


@slicing_function()
def ab_group(u):
    return u.user_id & 1 == 1


@slicing_function()
def holdout(u):
    return (u.user_id * 2654435761) % 2**32 < 2**32 // 3


@slicing_function()
def churn_score(u):
    score = 0
    score += 2 if u.tickets >= 5 else 0
    score += 3 if u.nps is not None and u.nps < 4 else 0
    score += 1 if u.seats_used < 2 else 0
    if u.status == "past_due":
        score += 2
    return score >= 3


@slicing_function()
def worth_a_call(u):
    reasons = []
    if u.mrr is not None and u.mrr > 100:
        reasons.append("value")
    if u.tickets and u.tickets > 2:
        reasons.append("tickets")
    if u.last_login and u.last_login < utc(2024, 6, 1):
        reasons.append("idle")
    return len(reasons) >= 2


@slicing_function()
def described(u):
    return "{}/{}".format(u.plan, u.status) in {"pro/active", "basic/past_due", "free/active"}
