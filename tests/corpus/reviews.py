"""Reviews of products: where a sentiment model may be wrong."""

import json
import math
import re
from collections import Counter, defaultdict
from datetime import date, datetime

import numpy as np
import pyarrow as pa

from engine import preprocessor, slicing_function

SCHEMA = pa.schema(
    [
        ("review_id", pa.string()),
        ("body", pa.string()),
        ("summary", pa.string()),
        ("stars", pa.int8()),
        ("price", pa.string()),
        ("helpful", pa.list_(pa.int32())),
        ("reviewed", pa.date32()),
        ("bought", pa.date32()),
        ("written", pa.timestamp("us")),
        ("verified", pa.bool_()),
        ("sentiment", pa.float64()),
        ("category", pa.string()),
        ("features", pa.map_(pa.string(), pa.float64())),
        ("answers", pa.list_(pa.struct([("by", pa.string()), ("text", pa.string())]))),
        ("meta", pa.string()),
    ]
)
POOLS = {
    "review_id": ["R1ABC", "R2", "r-0003", "R2D2XYZ99", "", "R-77-b", None],
    "body": [
        "Absolutely love it. Works great, would buy again!",
        "Not good at all. It broke after two days and the seller never answered.",
        "It's ok I guess",
        "Terrible, horrible, awful. Waste of money.",
        "Five stars for the price, one star for the smell.",
        "I was not disappointed, this isn't bad.",
        "Perfect",
        "",
        "GREAT PRODUCT!!! BEST PURCHASE EVER!!! 10/10",
        "Size runs small, order one size up. Paid $49.99 and it was $29.99 a week later.",
        "love love love",
        "The battery lasts 3 hours, not 10 as advertised. The screen is fine, but the battery...",
        "I received this product for free in exchange for an honest review.",
        "Não gostei, veio com defeito 😡",
        "👍👍👍",
        "Bought it for my wife; she likes it. 5'6\" and 130 lbs, medium fits.",
        "worst. purchase. ever.",
        "Works as described\r\nShipping took 2 weeks\r\nPackaging damaged",
        "pros: cheap\ncons: everything else",
        "  leading and trailing  ",
        "Returned it.  Asked for a refund twice!",
        None,
    ],
    "summary": ["Great!", "Don't buy", "ok", "Not worth it", "five stars", "", "LOVE IT", None],
    "stars": [1, 2, 3, 4, 5, 5, 5, 0, None],
    "price": ["$49.99", "1,299.00", "€ 15", "free", "", "£7", "12.50 USD", "N/A", "-3.00", None],
    "helpful": [[0, 0], [3, 4], [1, 10], [25, 25], [5], [], [None, 3], None],
    "reviewed": [
        date(2023, 1, 15),
        date(2023, 12, 26),
        date(2024, 2, 29),
        date(2024, 7, 4),
        date(2021, 10, 31),
        None,
    ],
    "bought": [date(2023, 1, 10), date(2023, 12, 24), date(2024, 3, 1), date(2020, 2, 29), None],
    "written": [
        datetime(2023, 1, 15, 8, 30),
        datetime(2023, 12, 26, 23, 59, 59),
        datetime(2024, 2, 29, 12, 0),
        datetime(2024, 7, 4, 0, 0, 0, 1),
        datetime(2021, 10, 31, 2, 30),
        None,
    ],
    "verified": [True, False, True, None],
    "sentiment": [0.9, -0.8, 0.0, -0.05, 0.35, float("nan"), -0.0, 1e-9, None],
    "category": ["Electronics", "books", "Home & Kitchen", "Toys > Games", "  Books ", "", None],
    "features": [
        {"length": 12.0, "caps": 0.1},
        {"length": 250.0, "caps": 0.9, "typos": 4.0},
        {"typos": float("nan")},
        {},
        {"length": None},
        None,
    ],
    "answers": [
        [],
        [{"by": "seller", "text": "Sorry to hear that"}],
        [{"by": "user", "text": "same here"}, {"by": "seller", "text": None}],
        [{"by": None, "text": ""}, None],
        None,
    ],
    "meta": [
        '{"device": "ios", "photos": 2}',
        '{"device": "android", "photos": 0, "edits": [1, 2]}',
        "{}",
        "not json",
        '{"device": null}',
        "[1, 2, 3]",
        "",
        None,
    ],
}
ROWS = [
    {"review_id": "R900", "body": "good " * 40, "stars": 1, "sentiment": 0.99, "price": "$0.50"},
    {"review_id": "R901", "body": "bad", "stars": 5, "sentiment": -0.9, "price": "12,5"},
    {
        "review_id": "R902",
        "body": "The zipper broke. The seam broke. Then the strap broke.",
        "stars": 4,
        "helpful": [400, 410],
        "reviewed": date(2023, 1, 12),
        "bought": date(2023, 1, 10),
        "category": "books",
        "verified": True,
    },
]

POSITIVE = {"love", "great", "perfect", "best", "good", "likes", "fine"}
NEGATIVE = {"terrible", "horrible", "awful", "worst", "broke", "waste", "bad", "damaged"}
NEGATIONS = ("not", "isn't", "never", "no", "don't", "wasn't")
MONEY = re.compile(r"\$\s?(\d+(?:\.\d{2})?)")
CATEGORY_GROUP = {
    "electronics": "tech",
    "books": "media",
    "toys > games": "kids",
    "home & kitchen": "home",
}


def tokens(text):
    return re.findall(r"[a-z']+", text.lower())


def to_number(text):
    """Return a price as a number, or None."""
    if text is None:
        return None
    cleaned = text.replace("$", "").replace("€", "").replace("£", "").replace(",", "").strip()
    try:
        return float(cleaned)
    except ValueError:
        return None


@slicing_function()
def stars_against_words(r):
    """Many stars and bad words, or few stars and good words."""
    words = set(tokens(r.body))
    if r.stars >= 4:
        return bool(words & NEGATIVE)
    if r.stars <= 2:
        return bool(words & POSITIVE)
    return False


@slicing_function()
def negated_praise(r):
    words = r.body.lower().split()
    for i, w in enumerate(words):
        if w.strip(".,!") in POSITIVE and i > 0 and words[i - 1] in NEGATIONS:
            return True
    return False


@slicing_function()
def double_negation(r):
    hits = [w for w in tokens(r.body) if w in NEGATIONS]
    return len(hits) >= 2


@slicing_function()
def sentiment_disagrees(r):
    expected = (r.stars - 3) / 2
    return abs(expected - r.sentiment) > 1.0


@slicing_function()
def neutral_zone(r):
    return -0.1 < r.sentiment < 0.1


@slicing_function()
def sentiment_unknown(r):
    return r.sentiment is None or math.isnan(r.sentiment)


@slicing_function()
def sentiment_unknown_np(r):
    return bool(np.isnan(r.sentiment))


@slicing_function()
def one_word(r):
    return len(r.body.split()) == 1


@slicing_function()
def empty_body(r):
    return not r.body


@slicing_function()
def long_winded(r):
    n_words = len(r.body.split(" "))
    n_sentences = max(1, len(re.findall(r"[.!?]+", r.body)))
    return n_words / n_sentences > 10


@slicing_function()
def paid_for_review(r):
    return re.search(r"\b(free|discount)\b.*\breview\b", r.body, flags=re.I | re.S) is not None


@slicing_function()
def mentions_money_over_40(r):
    return any(float(m) > 40 for m in MONEY.findall(r.body))


@slicing_function()
def first_money(r):
    m = MONEY.search(r.body)
    if m:
        return float(m.group(1)) < 100
    return False


@slicing_function()
def pricey(r):
    price = to_number(r.price)
    return price is not None and price > 20


@slicing_function()
def price_unreadable(r):
    try:
        float(r.price.replace("$", "").replace(",", ""))
    except ValueError:
        return True
    return False


@slicing_function()
def price_in_foreign_money(r):
    p = r.price
    return p is not None and p[:1] in "€£" and p != ""


@slicing_function()
def mostly_helpful(r):
    up, total = r.helpful[0], r.helpful[1]
    return total > 0 and up / total >= 0.75


@slicing_function()
def helpful_with_guard(r):
    if r.helpful and len(r.helpful) == 2 and r.helpful[1]:
        return r.helpful[0] is not None and r.helpful[0] > r.helpful[1] * 0.5
    return False


@slicing_function()
def nobody_voted(r):
    return sum(v or 0 for v in r.helpful or []) == 0


@slicing_function()
def reviewed_within_a_week(r):
    days = (r.reviewed - r.bought).days
    return 0 <= days <= 7


@slicing_function()
def reviewed_before_bought(r):
    return r.reviewed < r.bought


@slicing_function()
def christmas_time(r):
    return r.reviewed.month == 12 and r.reviewed.day >= 20


@slicing_function()
def holiday_by_table(r):
    holidays = {(12, 25), (12, 26), (7, 4), (1, 1)}
    return (r.reviewed.month, r.reviewed.day) in holidays


@slicing_function()
def written_in_the_morning(r):
    return 5 <= r.written.hour < 12


@slicing_function()
def written_on_a_sunday(r):
    return r.written.strftime("%A") == "Sunday"


@slicing_function()
def written_the_day_of_the_review(r):
    return r.written.date() == r.reviewed


@slicing_function()
def leap_day(r):
    return f"{r.reviewed:%m-%d}" == "02-29"


@slicing_function()
def bought_last_quarter(r):
    quarter = (r.bought.month - 1) // 3 + 1
    return quarter == 4


@slicing_function()
def verified_rave(r):
    return r.verified is True and r.stars == 5


@slicing_function()
def unverified(r):
    return not r.verified


@slicing_function()
def media_category(r):
    return CATEGORY_GROUP.get((r.category or "").strip().lower()) == "media"


@slicing_function()
def category_by_item(r):
    try:
        return CATEGORY_GROUP[r.category.lower()] in ("tech", "home")
    except KeyError:
        return False


@slicing_function()
def nested_category(r):
    return len(r.category.split(">")) > 1


@slicing_function()
def typos(r):
    return r.features.get("typos", 0.0) >= 2


@slicing_function()
def has_length_feature(r):
    return "length" in r.features and r.features["length"] is not None


@slicing_function()
def any_high_feature(r):
    return any(v is not None and v > 0.8 for v in r.features.values())


@slicing_function()
def seller_answered(r):
    return any(a is not None and a.by == "seller" for a in r.answers or [])


@slicing_function()
def last_word_to_seller(r):
    return len(r.answers) > 0 and r.answers[-1] is not None and r.answers[-1].by == "seller"


@slicing_function()
def from_phone(r):
    try:
        meta = json.loads(r.meta)
    except ValueError:
        return False
    if not isinstance(meta, dict):
        return False
    return meta.get("device") in ("ios", "android")


@slicing_function()
def with_photos(r):
    meta = json.loads(r.meta) if r.meta and r.meta.startswith("{") else {}
    return meta.get("photos", 0) > 0


@slicing_function()
def shouting_summary(r):
    return r.summary.isupper()


@slicing_function()
def summary_says_no(r):
    first, *rest = r.summary.lower().split() or [""]
    return first in {"not", "don't", "never"}


@slicing_function()
def repeats_itself(r):
    counts = defaultdict(int)
    for w in tokens(r.body):
        counts[w] += 1
    return any(n >= 3 and len(w) > 3 for w, n in counts.items())


@slicing_function()
def words_by_rank(r):
    top = [w for w, _ in Counter(tokens(r.body)).most_common(3)]
    return "love" in top or "great" in top


@slicing_function()
def mixed_feelings(r):
    words = tokens(r.body)
    good = sum(w in POSITIVE for w in words)
    bad = sum(w in NEGATIVE for w in words)
    return good > 0 and bad > 0 or " but " in r.body


@slicing_function()
def measures(r):
    return bool(re.search(r"\d+\s*(lbs?|kg|cm|inch(es)?|\"|hours?)", r.body))


@slicing_function()
def listed_pros_and_cons(r):
    lines = {line.partition(":")[0].strip().lower() for line in r.body.splitlines()}
    return {"pros", "cons"} <= lines


@slicing_function()
def odd_id(r):
    return re.match(r"^R[0-9A-Z]+$", r.review_id) is None


@slicing_function()
def stars_by_match(r):
    match r.stars:
        case 1 | 2:
            return True
        case 3:
            return len(r.body) < 50
        case None:
            return None
        case _:
            return False


@preprocessor(memoize=True)
def with_words(r):
    r.words = tokens(r.body or "")
    return r


@slicing_function(pre=[with_words])
def few_distinct_words(r):
    return len(set(r.words)) < len(r.words)


@slicing_function(pre=[with_words])
def starts_with_i(r):
    return r.words[:1] == ["i"]
