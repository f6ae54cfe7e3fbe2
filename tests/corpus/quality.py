"""Customer records from a form, most of them text: which of them are wrong."""

import calendar
import re
import uuid
from datetime import date, datetime
from decimal import Decimal, InvalidOperation

import pandas as pd
import pyarrow as pa

from engine import slicing_function

SCHEMA = pa.schema(
    [
        ("customer_id", pa.string()),
        ("first_name", pa.string()),
        ("last_name", pa.string()),
        ("email", pa.string()),
        ("phone", pa.string()),
        ("postcode", pa.string()),
        ("country", pa.string()),
        ("birth_date", pa.string()),
        ("signup", pa.date32()),
        ("updated", pa.timestamp("us")),
        ("age", pa.int32()),
        ("income", pa.string()),
        ("balance", pa.decimal128(14, 2)),
        ("height_cm", pa.float64()),
        ("weight_kg", pa.float64()),
        ("iban", pa.string()),
        ("vat", pa.float64()),
        ("consents", pa.map_(pa.string(), pa.bool_())),
        ("emails", pa.list_(pa.string())),
        (
            "address",
            pa.struct(
                [
                    ("street", pa.string()),
                    ("city", pa.string()),
                    ("geo", pa.struct([("lat", pa.float64()), ("lon", pa.float64())])),
                ]
            ),
        ),
        ("raw", pa.binary()),
    ]
)
POOLS = {
    "customer_id": [
        "C-000123",
        "C-999",
        "c-000123",
        "123e4567-e89b-12d3-a456-426614174000",
        "",
        " C-000124",
        None,
    ],
    "first_name": ["Jane", "JOHN", "mary ann", "O'Neil", "X", "", "test", "Zoë", "J4ne", None],
    "last_name": ["Doe", "doe", "Smith-Jones", "van der Berg", "", "Test", "Nuñez", None],
    "email": [
        "jane@example.com",
        "jane@example",
        "JANE@EXAMPLE.COM",
        "jane@@example.com",
        "@example.com",
        "jane.doe@mail.example.co.uk",
        "n/a",
        "",
        " jane@example.com ",
        None,
    ],
    "phone": [
        "+49 30 123456",
        "0301234567",
        "(555) 010-9999",
        "555-0100",
        "abc",
        "",
        "0000000000",
        None,
    ],
    "postcode": ["10115", "1011", "SW1A 1AA", "90210-1234", "ABCDE", "", "00000", None],
    "country": ["DE", "GB", "US", "us", "Germany", "", None],
    "birth_date": [
        "1990-05-17",
        "17.05.1990",
        "05/17/1990",
        "1990-02-30",
        "2050-01-01",
        "1900-01-01",
        "unknown",
        "",
        None,
    ],
    "signup": [date(2020, 1, 1), date(2024, 2, 29), date(1970, 1, 1), date(2030, 1, 1), None],
    "updated": [
        datetime(2024, 1, 1),
        datetime(2024, 2, 29, 23, 59, 59, 1),
        datetime(1999, 12, 31),
        datetime(2019, 5, 5, 5, 5),
        None,
    ],
    "age": [0, 17, 18, 34, 65, 120, 150, -1, 999, None],
    "income": ["45000", "45,000.50", "$1,200", "1.5e4", "none", "", "  300 ", "-50", "NaN", None],
    "balance": [Decimal("0.00"), Decimal("-12.34"), Decimal("100000.01"), Decimal("5.10"), None],
    "height_cm": [170.0, 1.7, 0.0, 250.1, float("nan"), 155.5, None],
    "weight_kg": [65.0, 650.0, -1.0, 80.5, float("inf"), None],
    "iban": [
        "DE89370400440532013000",
        "GB82 WEST 1234 5698 7654 32",
        "DE00370400440532013000",
        "XX",
        "",
        None,
    ],
    "vat": [0.0, 0.07, 0.19, 0.1900000001, 19.0, None],
    "consents": [
        {"email": True, "phone": False},
        {"email": None},
        {},
        {"email": False, "post": True},
        None,
    ],
    "emails": [
        [],
        ["jane@example.com"],
        ["jane@example.com", "JANE@example.com"],
        ["bad", None],
        None,
    ],
    "address": [
        {"street": "Main St 5", "city": "Berlin", "geo": {"lat": 52.5, "lon": 13.4}},
        {"street": "No number", "city": "berlin ", "geo": None},
        {"street": None, "city": None, "geo": {"lat": None, "lon": 0.0}},
        {"street": "", "city": "London", "geo": {"lat": 151.5, "lon": -0.1}},
        None,
    ],
    "raw": [b"", b"plain", b"\xff\xfe\x00", "Zoë".encode(), b"\x00\x01", None],
}
ROWS = [
    {
        "customer_id": "C-000900",
        "first_name": "Ann",
        "last_name": "Lee",
        "email": "ann@example.com",
        "phone": "+1 555 010 0200",
        "postcode": "90210",
        "country": "US",
        "birth_date": "1985-07-09",
        "signup": date(2020, 5, 5),
        "updated": datetime(2024, 1, 1, 9, 30),
        "age": 38,
        "income": "52000",
        "balance": Decimal("10.00"),
        "height_cm": 165.0,
        "weight_kg": 60.0,
        "vat": 0.19,
        "emails": ["ann@example.com"],
    },
    {
        "customer_id": "C-000901",
        "first_name": "Ann",
        "last_name": "Ann",
        "country": "DE",
        "postcode": "10115",
        "age": 3,
        "birth_date": "2021-01-01",
        "signup": date(2022, 6, 1),
    },
    {"customer_id": "C-000902", "first_name": "", "last_name": None, "email": "", "age": 50},
]

EMAIL = re.compile(r"^[^@\s]+@[^@\s]+\.[^@\s]+$")
POSTCODES = {
    "DE": r"\d{5}",
    "US": r"\d{5}(-\d{4})?",
    "GB": r"[A-Z]{1,2}\d[A-Z\d]? ?\d[A-Z]{2}",
}
DATE_FORMATS = ["%Y-%m-%d", "%d.%m.%Y", "%m/%d/%Y"]
TODAY = date(2024, 6, 30)
PLACEHOLDERS = {"", "n/a", "na", "none", "null", "unknown", "test", "-"}


def parse_date(text):
    for fmt in DATE_FORMATS:
        try:
            return datetime.strptime(text, fmt).date()
        except ValueError:
            pass
    return None


def blank(value):
    return value is None or str(value).strip() == ""


@slicing_function()
def missing_name(x):
    return blank(x.first_name) or blank(x.last_name)


@slicing_function()
def missing_everything(x):
    return all(v in (None, "") for v in [x.first_name, x.last_name, x.email, x.phone])


@slicing_function()
def how_many_missing(x):
    fields = (x.first_name, x.last_name, x.email, x.phone, x.postcode, x.country)
    return sum(1 for f in fields if not f) >= 2


@slicing_function()
def placeholder(x):
    return (x.email or "").strip().lower() in PLACEHOLDERS


@slicing_function()
def invalid_email(x):
    return EMAIL.match(x.email) is None


@slicing_function()
def email_not_normal(x):
    return x.email != x.email.strip().lower()


@slicing_function()
def email_by_hand(x):
    if x.email.count("@") != 1:
        return True
    local, domain = x.email.split("@")
    if not local or "." not in domain:
        return True
    return False


@slicing_function()
def email_not_in_list(x):
    return x.email.lower() not in [e.lower() for e in x.emails if e]


@slicing_function()
def emails_equal_ignoring_case(x):
    seen = set()
    for e in x.emails or []:
        if e is None:
            continue
        if e.lower() in seen:
            return True
        seen.add(e.lower())
    return False


@slicing_function()
def phone_digits(x):
    digits = re.sub(r"\D", "", x.phone)
    return not 7 <= len(digits) <= 15


@slicing_function()
def phone_translate(x):
    kept = x.phone.translate(str.maketrans("", "", " ()-+"))
    return not kept.isdigit()


@slicing_function()
def phone_all_same(x):
    digits = "".join(filter(str.isdigit, x.phone))
    return len(digits) > 3 and len(set(digits)) == 1


@slicing_function()
def postcode_of_country(x):
    pattern = POSTCODES.get(x.country)
    if pattern is None:
        return None
    return re.fullmatch(pattern, x.postcode or "") is None


@slicing_function()
def postcode_lost_zeros(x):
    return x.country == "DE" and x.postcode.isdigit() and len(x.postcode) < 5


@slicing_function()
def country_not_a_code(x):
    return not (len(x.country) == 2 and x.country.isupper())


@slicing_function()
def birth_date_unreadable(x):
    return parse_date(x.birth_date) is None


@slicing_function()
def birth_date_iso(x):
    try:
        date.fromisoformat(x.birth_date)
        return True
    except (ValueError, TypeError):
        return False


@slicing_function()
def born_in_future(x):
    d = parse_date(x.birth_date)
    return d is not None and d > TODAY


@slicing_function()
def age_disagrees(x):
    born = parse_date(x.birth_date)
    if born is None:
        return None
    age = TODAY.year - born.year - ((TODAY.month, TODAY.day) < (born.month, born.day))
    return abs(age - x.age) > 1


@slicing_function()
def born_before_1920(x):
    return x.birth_date[:4].isdigit() and int(x.birth_date[:4]) < 1920


@slicing_function()
def age_out_of_range(x):
    return x.age < 0 or x.age > 120


@slicing_function()
def minor(x):
    return 0 <= x.age < 18


@slicing_function()
def signup_in_future(x):
    return x.signup > TODAY


@slicing_function()
def epoch_date(x):
    return x.signup == date(1970, 1, 1)


@slicing_function()
def last_day_of_month(x):
    return x.signup.day == calendar.monthrange(x.signup.year, x.signup.month)[1]


@slicing_function()
def updated_before_signup(x):
    return x.updated.date() < x.signup


@slicing_function()
def stale_record(x):
    return (datetime(2024, 6, 30) - x.updated).days > 365


@slicing_function()
def has_microseconds(x):
    return x.updated.microsecond != 0


@slicing_function()
def midnight(x):
    return x.updated.isoformat().endswith("T00:00:00")


@slicing_function()
def income_not_a_number(x):
    try:
        float(x.income)
        return False
    except ValueError:
        return True


@slicing_function()
def income_negative(x):
    try:
        return float(x.income.replace(",", "").replace("$", "")) < 0
    except (ValueError, AttributeError):
        return None


@slicing_function()
def income_decimal(x):
    try:
        value = Decimal(x.income.strip())
    except InvalidOperation:
        return False
    return value == value.to_integral_value()


@slicing_function()
def income_has_currency(x):
    return bool(x.income) and not (x.income[0].isdigit() or x.income[0] in "+-. ")


@slicing_function()
def overdrawn(x):
    return x.balance < 0


@slicing_function()
def balance_with_odd_cents(x):
    return int(x.balance * 100) % 10 != 0


@slicing_function()
def height_in_metres(x):
    return x.height_cm < 3


@slicing_function()
def height_missing(x):
    return pd.isna(x.height_cm)


@slicing_function()
def bmi_odd(x):
    bmi = x.weight_kg / (x.height_cm / 100) ** 2 if x.height_cm else None
    if bmi is None:
        return True
    return bmi < 10 or bmi > 60


@slicing_function()
def odd_vat(x):
    return round(x.vat, 4) not in (0.0, 0.07, 0.19)


@slicing_function()
def vat_in_percent(x):
    return x.vat >= 1


@slicing_function()
def iban_length(x):
    lengths = {"DE": 22, "GB": 22, "FR": 27}
    iban = x.iban.replace(" ", "")
    return len(iban) != lengths.get(iban[:2], 0)


@slicing_function()
def iban_checksum(x):
    iban = x.iban.replace(" ", "").upper()
    if len(iban) < 5:
        return True
    moved = iban[4:] + iban[:4]
    number = int("".join(str(int(c, 36)) for c in moved))
    return number % 97 != 1


@slicing_function()
def id_malformed(x):
    return not re.fullmatch(r"C-\d{6}", x.customer_id)


@slicing_function()
def id_is_uuid(x):
    try:
        uuid.UUID(x.customer_id)
    except ValueError:
        return False
    return True


@slicing_function()
def id_number_even(x):
    m = re.match(r"C-(?P<number>\d+)$", x.customer_id)
    return m is not None and int(m.group("number")) % 2 == 0


@slicing_function()
def name_not_title(x):
    full = f"{x.first_name} {x.last_name}"
    return full != full.title()


@slicing_function()
def same_first_and_last(x):
    return x.first_name.casefold() == x.last_name.casefold()


@slicing_function()
def digit_in_name(x):
    return any(ch.isdigit() for ch in x.first_name + x.last_name)


@slicing_function()
def full_name_too_short(x):
    return len(" ".join([x.first_name or "", x.last_name or ""]).strip()) < 5


@slicing_function()
def no_consent(x):
    return not any((x.consents or {}).values())


@slicing_function()
def email_consent(x):
    return x.consents.get("email") is True


@slicing_function()
def city_untidy(x):
    return (
        x.address is not None
        and x.address.city is not None
        and (x.address.city != x.address.city.strip().title())
    )


@slicing_function()
def street_without_number(x):
    return not re.search(r"\d", x.address.street)


@slicing_function()
def no_coordinates(x):
    a = x.address
    return a is None or a.geo is None or a.geo.lat is None or a.geo.lon is None


@slicing_function()
def latitude_wrong(x):
    return abs(x.address.geo.lat) > 90


@slicing_function()
def raw_not_utf8(x):
    try:
        x.raw.decode("utf-8")
    except UnicodeDecodeError:
        return True
    return False


@slicing_function()
def raw_empty(x):
    return len(x.raw) == 0


@slicing_function()
def consistent_country(x):
    key = (x.country or "", (x.phone or "")[:3])
    return key in {("DE", "+49"), ("US", "+1 "), ("GB", "+44")}
