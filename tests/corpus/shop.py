"""Orders of an online shop: groups that marketing and the warehouse ask about."""

import datetime as dt
import math
from collections import Counter
from decimal import ROUND_DOWN, Decimal
from functools import reduce
from zoneinfo import ZoneInfo

import pyarrow as pa

from engine import slicing_function

SCHEMA = pa.schema(
    [
        ("order_id", pa.int64()),
        ("sku", pa.string()),
        ("title", pa.string()),
        ("price", pa.decimal128(10, 2)),
        ("list_price", pa.decimal128(10, 2)),
        ("price_text", pa.string()),
        ("quantity", pa.int32()),
        ("stock", pa.int32()),
        ("rating", pa.float32()),
        ("weight", pa.float64()),
        ("categories", pa.list_(pa.string())),
        ("tags", pa.list_(pa.string())),
        ("attributes", pa.map_(pa.string(), pa.string())),
        (
            "items",
            pa.list_(
                pa.struct(
                    [("sku", pa.string()), ("qty", pa.int32()), ("price", pa.decimal128(10, 2))]
                )
            ),
        ),
        ("ordered", pa.timestamp("us", "UTC")),
        ("shipped", pa.timestamp("us", "UTC")),
        ("promised", pa.date32()),
        ("country", pa.string()),
        ("coupon", pa.string()),
        ("gift", pa.bool_()),
        (
            "customer",
            pa.struct([("tier", pa.string()), ("since", pa.date32()), ("orders", pa.int32())]),
        ),
    ]
)


def utc(*parts):
    return dt.datetime(*parts, tzinfo=dt.timezone.utc)


def item(sku, qty, price):
    return {"sku": sku, "qty": qty, "price": None if price is None else Decimal(price)}


POOLS = {
    "order_id": [*range(1001, 1030), 0, 2**62, -7, None],
    "sku": ["AB-1234-XL", "AB-1234-S", "ZZ-0001", "ab-1234-m", "bad sku", "TS-9999-XXL", "", None],
    "title": [
        "Cotton T-Shirt, red (XL)",
        "USB-C cable 2m",
        "Organic green tea 250 g",
        "NEW! iPhone case",
        "Used: camera lens 50mm f/1.8",
        "12-pack batteries AA",
        "",
        "Kaffeemaschine – 1,5 l",
        None,
    ],
    "price": [*map(Decimal, ["0.00", "0.99", "9.90", "19.99", "49.50", "100.00", "1299.00"]), None],
    "list_price": [*map(Decimal, ["0.00", "9.90", "24.99", "49.50", "200.00", "1500.00"]), None],
    "price_text": ["$19.99", "EUR 1.299,00", "19,99 €", "free", "1,299.00", "", "£5", "$12", None],
    "quantity": [0, 1, 1, 2, 12, 500, -1, None],
    "stock": [0, 1, 3, 100, 10_000, None],
    "rating": [0.0, 2.5, 4.2, 4.7, 5.0, float("nan"), None],
    "weight": [0.0, 0.25, 1.0, 30.5, 99.9, None],
    "categories": [
        ["Clothing", "Men"],
        ["Electronics"],
        ["Food", "Tea", "Organic"],
        [],
        ["clothing"],
        [None],
        ["Electronics", "Phones", "Accessories", "Cases"],
        None,
    ],
    "tags": [
        ["sale"],
        ["new", "sale"],
        ["clearance", "last-chance"],
        [],
        ["vegan", "bio", "new"],
        [None, "sale"],
        None,
    ],
    "attributes": [
        {"color": "red", "size": "XL"},
        {"color": "Blue"},
        {"size": "42", "color": ""},
        {"volume": "1.5 l"},
        {},
        {"color": None},
        None,
    ],
    "items": [
        [item("A", 1, "10.00")],
        [item("A", 2, "5.00"), item("B", 1, "99.00")],
        [],
        [item("C", None, "3.00"), item(None, 4, None)],
        [item("A", 1, "1.00"), item("A", 3, "1.00"), item("D", 10, "0.10")],
        None,
    ],
    "ordered": [
        utc(2024, 11, 29, 0, 5),
        utc(2024, 11, 28, 23, 55),
        utc(2024, 6, 1, 12, 0),
        utc(2024, 3, 31, 0, 59),
        utc(2024, 12, 24, 20, 0),
        utc(2023, 2, 28, 6, 30),
        None,
    ],
    "shipped": [
        utc(2024, 11, 29, 9, 0),
        utc(2024, 12, 2, 9, 0),
        utc(2024, 6, 1, 13, 30),
        utc(2024, 6, 10),
        utc(2023, 3, 1),
        None,
        None,
    ],
    "promised": [
        dt.date(2024, 6, 3),
        dt.date(2024, 12, 1),
        dt.date(2024, 12, 24),
        dt.date(2023, 3, 2),
        None,
    ],
    "country": ["DE", "AT", "US", "CH", "FR", "", None],
    "coupon": ["WELCOME10", "SUMMER-25", "summer-25", "FREE", "X", "", None],
    "gift": [True, False, False, None],
    "customer": [
        {"tier": "gold", "since": dt.date(2015, 5, 1), "orders": 80},
        {"tier": "silver", "since": dt.date(2023, 1, 31), "orders": 5},
        {"tier": None, "since": dt.date(2024, 6, 1), "orders": 0},
        {"tier": "GOLD ", "since": None, "orders": None},
        None,
    ],
}
ROWS = [
    {
        "order_id": 5000,
        "price": Decimal("5.00"),
        "list_price": Decimal("50.00"),
        "quantity": 3,
        "stock": 2,
        "title": "last one",
        "ordered": utc(2024, 6, 1, 8),
        "shipped": utc(2024, 6, 20),
        "promised": dt.date(2024, 6, 3),
        "gift": True,
        "country": "DE",
        "rating": 1.5,
        "weight": 2.0,
        "customer": {"tier": "gold", "since": dt.date(2024, 5, 30), "orders": 1},
    },
    {
        "order_id": 5001,
        "items": [item(s, 1, "2.50") for s in "ABCDEFG"],
        "tags": ["sale"] * 3,
        "price": Decimal("60.00"),
        "list_price": Decimal("60.00"),
        "quantity": 1,
        "stock": 50,
        "coupon": "LOYAL-15",
        "rating": 4.9,
    },
]

SIZES = {"XS": 0, "S": 1, "M": 2, "L": 3, "XL": 4, "XXL": 5}
EU = {"DE", "AT", "FR"}
SHIPPING = {"DE": Decimal("4.90"), "AT": Decimal("7.90"), "CH": Decimal("14.00")}
TIERS = ("bronze", "silver", "gold")
BERLIN = ZoneInfo("Europe/Berlin")


@slicing_function()
def discounted(o):
    return o.price < o.list_price


@slicing_function()
def half_price(o):
    return o.list_price > 0 and (o.list_price - o.price) / o.list_price >= Decimal("0.5")


@slicing_function()
def discount_percent(o):
    if not o.list_price:
        return False
    percent = int(round(100 * (1 - float(o.price) / float(o.list_price))))
    return percent >= 20


@slicing_function()
def free(o):
    return o.price == 0


@slicing_function()
def psychological_price(o):
    return f"{o.price:.2f}"[-2:] in ("99", "90", "95")


@slicing_function()
def whole_euros(o):
    return o.price == o.price.to_integral_value()


@slicing_function()
def order_value(o):
    return o.price * o.quantity > 100


@slicing_function()
def net_price(o):
    net = (o.price / Decimal("1.19")).quantize(Decimal("0.01"), ROUND_DOWN)
    return net > Decimal("40")


def parse_price(text):
    """Return a price of either notation."""
    text = text.replace("€", "").replace("$", "").replace("£", "").replace("EUR", "").strip()
    if "," in text and "." in text:
        if text.rfind(",") > text.rfind("."):
            text = text.replace(".", "").replace(",", ".")
        else:
            text = text.replace(",", "")
    else:
        text = text.replace(",", ".")
    return float(text)


@slicing_function()
def text_price_over_ten(o):
    try:
        return parse_price(o.price_text) > 10
    except ValueError:
        return False


@slicing_function()
def text_price_disagrees(o):
    digits = "".join(c for c in o.price_text if c.isdigit())
    if not digits:
        return None
    return int(digits) != int(o.price * 100)


@slicing_function()
def bulk_order(o):
    return o.quantity >= 10


@slicing_function()
def oversold(o):
    return o.quantity > o.stock


@slicing_function()
def low_stock(o):
    return o.stock is not None and 0 < o.stock <= 5


@slicing_function()
def bad_quantity(o):
    return o.quantity is None or o.quantity <= 0


@slicing_function()
def well_rated(o):
    return o.rating >= 4.5


@slicing_function()
def unrated(o):
    return o.rating is None or o.rating != o.rating or o.rating == 0


@slicing_function()
def stars_shown(o):
    if o.rating is None or math.isnan(o.rating):
        return False
    return round(o.rating * 2) / 2 == 4.0


@slicing_function()
def parcels_needed(o):
    return math.ceil(o.weight / 31.5) > 1


@slicing_function()
def clothing(o):
    return "clothing" in [c.lower() for c in o.categories if c]


@slicing_function()
def first_category(o):
    return o.categories[0] == "Electronics" if o.categories else False


@slicing_function()
def deep_category(o):
    return len(o.categories) >= 3


@slicing_function()
def category_path(o):
    path = " > ".join(c or "?" for c in o.categories)
    return path.startswith("Food > Tea")


@slicing_function()
def on_sale(o):
    return "sale" in (o.tags or [])


@slicing_function()
def new_but_on_sale(o):
    return set(o.tags) >= {"new", "sale"}


@slicing_function()
def clearance_or_last(o):
    wanted = {"clearance", "last-chance"}
    return not wanted.isdisjoint(o.tags)


@slicing_function()
def alphabetical_tags(o):
    tags = [t for t in o.tags if t is not None]
    return len(tags) > 1 and tags == sorted(tags)


@slicing_function()
def color_red(o):
    return (o.attributes.get("color") or "").lower() == "red"


@slicing_function()
def color_missing(o):
    if o.attributes is None:
        return True
    if "color" not in o.attributes:
        return True
    return not o.attributes["color"]


@slicing_function()
def many_attributes(o):
    return len(o.attributes) > 1


@slicing_function()
def two_litres(o):
    volume = o.attributes.get("volume", "0 l")
    amount, unit = volume.split()
    return float(amount) >= 1 and unit == "l"


@slicing_function()
def large_size(o):
    size = o.sku.split("-")[-1].upper()
    return SIZES.get(size, -1) >= SIZES["XL"]


@slicing_function()
def malformed_sku(o):
    parts = o.sku.split("-")
    return len(parts) < 2 or not parts[1].isdigit()


@slicing_function()
def used_goods(o):
    return o.title.lower().startswith("used")


@slicing_function()
def title_with_measure(o):
    words = o.title.lower().replace(",", " ").split()
    return any(w in ("g", "kg", "l", "ml") or w.endswith("mm") for w in words)


@slicing_function()
def title_case(o):
    return o.title != "" and o.title[0].isupper() and "!" not in o.title


@slicing_function()
def cart_total(o):
    total = Decimal(0)
    for i in o.items:
        if i.price is not None and i.qty is not None:
            total += i.price * i.qty
    return total > Decimal("50")


@slicing_function()
def cart_units(o):
    return sum(i.qty or 0 for i in o.items) > 3


@slicing_function()
def same_item_twice(o):
    counts = Counter(i.sku for i in o.items)
    return any(n > 1 for n in counts.values())


@slicing_function()
def only_cheap_items(o):
    return bool(o.items) and all(i.price is not None and i.price < 10 for i in o.items)


@slicing_function()
def most_expensive(o):
    return max([i.price for i in o.items if i.price], default=Decimal(0)) > 50


@slicing_function()
def several_of_an_item(o):
    return any(price is not None and qty and qty > 2 for _, qty, price in o.items)


@slicing_function()
def item_codes(o):
    return "".join(sorted(i.sku or "" for i in o.items)) in ("A", "AB")


@slicing_function()
def reduced_total(o):
    return reduce(lambda a, b: a + (b.qty or 1), o.items, 0) > 4


@slicing_function()
def black_friday_berlin(o):
    return o.ordered.astimezone(BERLIN).date() == dt.date(2024, 11, 29)


@slicing_function()
def late_evening_berlin(o):
    t = o.ordered.astimezone(BERLIN)
    return t.hour >= 20 or t.hour < 1


@slicing_function()
def shipped_same_day(o):
    return o.shipped is not None and o.shipped.date() == o.ordered.date()


@slicing_function()
def slow_shipping(o):
    return o.shipped - o.ordered > dt.timedelta(days=3)


@slicing_function()
def hours_to_ship(o):
    hours = (o.shipped - o.ordered).total_seconds() / 3600
    return 0 < hours < 12


@slicing_function()
def late(o):
    if o.promised is None:
        return False
    return o.shipped is None or o.shipped.date() > o.promised


@slicing_function()
def not_shipped(o):
    return o.shipped is None


@slicing_function()
def workdays_promised(o):
    day, n = o.ordered.date(), 0
    while day < o.promised and n < 10:
        day += dt.timedelta(days=1)
        if day.weekday() < 5:
            n += 1
    return n <= 2


@slicing_function()
def advent(o):
    return (o.ordered.month, o.ordered.day) >= (12, 1) and o.ordered.day <= 24


@slicing_function()
def iso_week(o):
    return o.ordered.isocalendar()[1] == 48


@slicing_function()
def within_eu(o):
    return o.country in EU


@slicing_function()
def shipping_over_share(o):
    cost = SHIPPING.get(o.country, Decimal("25"))
    return cost > o.price / 4


@slicing_function()
def coupon_percent(o):
    code = o.coupon.strip().upper()
    digits = code.lstrip("ABCDEFGHIJKLMNOPQRSTUVWXYZ-")
    return int(digits) >= 15 if digits else False


@slicing_function()
def seasonal_coupon(o):
    return o.coupon is not None and o.coupon.lower().startswith(("summer", "winter"))


@slicing_function()
def gift_order(o):
    return o.gift


@slicing_function()
def expensive_gift(o):
    return o.gift and o.price >= 49.5


@slicing_function()
def gold_customer(o):
    return o.customer.tier.strip().lower() == "gold"


@slicing_function()
def tier_at_least_silver(o):
    tier = o.customer.tier if o.customer is not None else None
    return tier in TIERS and TIERS.index(tier) >= 1


@slicing_function()
def first_order(o):
    return o.customer is not None and not o.customer.orders


@slicing_function()
def long_standing(o):
    return (o.ordered.date() - o.customer.since).days // 365 >= 5


@slicing_function()
def every_tenth(o):
    return o.order_id % 10 == 3


@slicing_function()
def digits_of_order(o):
    return sum(int(d) for d in str(abs(o.order_id))) % 2 == 0
