"""Twelve ordinary slicing functions, and rows for them: texts, money, dates, lists, look-ups."""

from __future__ import annotations

import datetime as dt
import random
import re
from decimal import Decimal

import pyarrow as pa

from engine import slicing_function

RATES = {"DE": 1.1, "US": 1.0, "GB": 1.3, "JP": 0.007}
FREE = {"gmail.com", "yahoo.com", "mail.ru"}
RISKY = {"crypto", "loan", "pills"}
_WORDS = [
    "the", "great", "spam", "check", "out", "my", "channel", "subscribe", "PLEASE", "Visit",
    "http://a.b/c", "https://x.y", "$12.50", "$300", "wonderful", "555-1234", "5551234567",
    "\U0001f600", "über", "Straße", "love", "this", "song",
]  # fmt: skip


@slicing_function()
def several_urls(x):
    return len(re.findall(r"https?://\S+", x.text)) >= 2


@slicing_function()
def over_a_hundred(x):
    price = re.search(r"\$\s?(\d+(?:\.\d\d)?)", x.text)
    return price is not None and float(price.group(1)) > 100


@slicing_function()
def shouting(x):
    letters = [c for c in x.text if c.isalpha()]
    return len(letters) > 10 and sum(c.isupper() for c in letters) / len(letters) > 0.5


@slicing_function()
def shipped_late(x):
    return (x.shipped - x.ordered).days > 7


@slicing_function()
def large_in_dollars(x):
    return RATES.get(x.country, 0) * x.amount > 500


@slicing_function()
def fever(x):
    try:
        return float(x.reading) > 37.5
    except (TypeError, ValueError):
        return False


@slicing_function()
def many_tags_on_sale(x):
    return len(x.tags or []) >= 3 and "sale" in x.tags


@slicing_function()
def emoji(x):
    return any(ord(c) >= 0x1F300 for c in x.text)


@slicing_function()
def weekend_or_night(x):
    return x.at.weekday() >= 5 or x.at.hour < 6


@slicing_function()
def free_mail(x):
    return x.email.split("@")[-1].lower() in FREE


@slicing_function()
def risky(x):
    return len(set(x.tags or []) & RISKY) >= 1


@slicing_function()
def total_over_limit(x):
    return x.price * x.quantity > Decimal("99.99")


SFS = [
    several_urls, over_a_hundred, shouting, shipped_late, large_in_dollars, fever,
    many_tags_on_sale, emoji, weekend_or_night, free_mail, risky, total_over_limit,
]  # fmt: skip


def rows(n: int, seed: int = 0) -> pa.Table:
    """Return ``n`` rows, of which texts and addresses are all different."""
    r, first = random.Random(seed), dt.date(2023, 1, 1)
    texts = [" ".join(r.choices(_WORDS, k=r.randint(3, 25))) + f" {i}" for i in range(n)]
    ordered = [first + dt.timedelta(days=r.randint(0, 500)) for _ in range(n)]
    start = dt.datetime(2024, 1, 1)
    return pa.table({
        "text": texts,
        "ordered": ordered,
        "shipped": [o + dt.timedelta(days=r.randint(0, 14)) for o in ordered],
        "country": r.choices(["DE", "US", "GB", "JP", "FR"], k=n),
        "amount": [r.random() * 1000 for _ in range(n)],
        "reading": [r.choice(["n/a", "", f"{35 + r.random() * 5:.2f}"]) for _ in range(n)],
        "tags": [r.choices(["sale", "new", "crypto", "red", f"x{i % 50}"], k=r.randint(0, 6))
                 for i in range(n)],
        "at": pa.array([start + dt.timedelta(minutes=r.randint(0, 10**6)) for _ in range(n)],
                       pa.timestamp("us")),
        "email": [f"user{i}@{r.choice(['gmail.com', 'Yahoo.com', 'x.org'])}" for i in range(n)],
        "price": pa.array([Decimal(r.randint(1, 10**5)) / 100 for _ in range(n)],
                          pa.decimal128(10, 2)),
        "quantity": pa.array([r.randint(1, 9) for _ in range(n)], pa.int32()),
        "label": pa.array([r.randint(0, 1) for _ in range(n)], pa.int32()),
        "prob": [r.random() for _ in range(n)],
    })  # fmt: skip
