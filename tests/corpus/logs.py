"""Lines of a web server's log: what somebody on call filters for."""

import base64
import binascii
import fnmatch
import re
from datetime import datetime, timedelta, timezone
from urllib.parse import parse_qs, unquote, urlparse

import pyarrow as pa

from engine import SlicingFunction, slicing_function

SCHEMA = pa.schema(
    [
        ("ts", pa.timestamp("us", "UTC")),
        ("level", pa.string()),
        ("message", pa.string()),
        ("status", pa.int16()),
        ("method", pa.string()),
        ("url", pa.string()),
        ("ms", pa.float32()),
        ("size", pa.int64()),
        ("client", pa.string()),
        ("agent", pa.string()),
        ("headers", pa.map_(pa.string(), pa.string())),
        ("stack", pa.list_(pa.string())),
        ("retries", pa.uint8()),
        ("host", pa.struct([("name", pa.string()), ("zone", pa.string())])),
        ("auth", pa.string()),
        ("spans", pa.list_(pa.struct([("name", pa.string()), ("ms", pa.float64())]))),
    ]
)


def utc(*parts):
    return datetime(*parts, tzinfo=timezone.utc)


POOLS = {
    "ts": [
        utc(2024, 10, 27, 0, 30),
        utc(2024, 10, 27, 1, 30),
        utc(2024, 6, 3, 2, 0, 0, 500),
        utc(2024, 6, 3, 9, 15),
        utc(2024, 6, 8, 23, 59, 59),
        utc(2024, 1, 1),
        None,
    ],
    "level": ["INFO", "WARN", "ERROR", "error", "DEBUG", "FATAL", "", None],
    "message": [
        "GET /health 200 in 3ms",
        "Connection refused: db-7.internal:5432",
        "user=42 action=login result=ok",
        'user=13 action=login result=failed reason="bad password"',
        "Traceback (most recent call last):\n  File \"a.py\", line 3\nKeyError: 'id'",
        "took 1532 ms (limit 1000 ms)",
        "OutOfMemoryError: Java heap space",
        "retry 3/5 after timeout",
        "",
        "password=hunter2 token=abcdef0123456789abcdef0123456789",
        '{"event": "signup", "ok": true}',
        "disk usage 91% on /dev/sda1",
        "disk usage 40% on /dev/sdb1",
        "WARNING: deprecated call to foo() – use bar()",
        '10.0.0.1 - - [03/Jun/2024:09:15:00 +0000] "GET / HTTP/1.1" 500 12',
        None,
    ],
    "status": [200, 200, 201, 301, 404, 418, 500, 503, 0, None],
    "method": ["GET", "POST", "get", "DELETE", "PATCH", "", None],
    "url": [
        "https://shop.example/items?id=5&utm_source=mail&utm_medium=x",
        "/static/app.js",
        "/api/v2/users/17/orders",
        "/api/v1/users/me",
        "http://shop.example:8080/%2e%2e/%2e%2e/etc/passwd",
        "/search?q=%27%20OR%201%3D1%20--",
        "/",
        "",
        "/img/logo.PNG",
        "/items/123456789012",
        None,
    ],
    "ms": [0.5, 3.25, 120.0, 999.5, 1500.0, 30000.0, float("nan"), None],
    "size": [0, 512, 1024, 1_048_576, 5_000_000_000, -1, None],
    "client": [
        "10.1.2.3",
        "203.0.113.9",
        "172.16.5.4",
        "2001:db8::5",
        "unknown",
        "127.0.0.1",
        None,
    ],
    "agent": [
        "Mozilla/5.0 (iPhone; CPU iPhone OS 17_0 like Mac OS X)",
        "Mozilla/5.0 (compatible; Googlebot/2.1; +http://www.google.com/bot.html)",
        "curl/8.4.0",
        "python-requests/2.31",
        "",
        "Mozilla/5.0 (Windows NT 10.0) Chrome/124.0.0.0",
        "kube-probe/1.29",
        None,
    ],
    "headers": [
        {"content-type": "application/json", "x-request-id": "abc"},
        {"Content-Type": "text/html; charset=utf-8"},
        {"accept-language": "de-DE,de;q=0.9,en;q=0.5"},
        {},
        {"content-type": None},
        None,
    ],
    "stack": [
        [],
        ["main", "run", "query"],
        ["main", "handler", "handler", "handler"],
        ["main", "org.acme.Db.connect"],
        [None],
        None,
    ],
    "retries": [0, 1, 3, 255, None],
    "host": [
        {"name": "web-01", "zone": "eu-west-1a"},
        {"name": "db-07", "zone": "us-east-1c"},
        {"name": "web-11", "zone": None},
        {"name": None, "zone": "eu-west-1b"},
        None,
    ],
    "auth": [
        "Basic YWxhZGRpbjpvcGVuc2VzYW1l",
        "Bearer abc.def.ghi",
        "Basic !!!",
        "",
        "Basic dXNlcg==",
        None,
    ],
    "spans": [
        [],
        [{"name": "db", "ms": 80.0}, {"name": "render", "ms": 20.0}],
        [{"name": "db", "ms": 10.0}, {"name": "cache", "ms": None}],
        [{"name": "http", "ms": 900.0}, {"name": "db", "ms": 95.0}, {"name": "db", "ms": 30.0}],
        None,
    ],
}
ROWS = [
    {
        "ts": utc(2024, 6, 3, 3, 0),
        "level": "ERROR",
        "message": "x" * 600,
        "status": 502,
        "ms": 12000.0,
        "url": "/api/v2/orders",
        "method": "POST",
        "retries": 4,
        "client": "10.9.9.9",
    },
    {
        "ts": utc(2024, 6, 5, 12, 0),
        "level": "INFO",
        "message": "ok",
        "status": 200,
        "ms": 1.0,
        "method": "GET",
        "url": "/health",
        "agent": "kube-probe/1.29",
        "retries": 0,
    },
]

LEVELS = ["DEBUG", "INFO", "WARN", "ERROR", "FATAL"]
BOTS = re.compile(r"bot|crawl|spider|slurp", re.I)
PAIR = re.compile(r'(\w+)=("[^"]*"|\S+)')
STATIC = (".js", ".css", ".png", ".jpg", ".svg")
CLASSES = {2: "ok", 3: "redirect", 4: "client", 5: "server"}
MAINTENANCE = (1, 4)


@slicing_function()
def errors(r):
    return r.level.upper() in ("ERROR", "FATAL")


@slicing_function()
def at_least_warn(r):
    try:
        return LEVELS.index(r.level.upper()) >= 2
    except ValueError:
        return False


@slicing_function()
def health_checks(r):
    return "/health" in r.message or "kube-probe" in (r.agent or "")


@slicing_function()
def server_errors(r):
    return 500 <= r.status < 600


@slicing_function()
def status_class(r):
    return CLASSES.get(r.status // 100) == "client"


@slicing_function()
def unknown_status(r):
    return r.status // 100 not in CLASSES


@slicing_function()
def status_as_text(r):
    return str(r.status).startswith("4")


@slicing_function()
def slow(r):
    return r.ms > 1000


@slicing_function()
def slow_or_failed(r):
    return r.ms is not None and r.ms >= 999.5 or r.status >= 500


@slicing_function()
def slow_by_method(r):
    limits = {"GET": 100, "POST": 1000}
    return r.ms > limits.get(r.method.upper(), 500)


@slicing_function()
def took_longer_than_limit(r):
    m = re.search(r"took (\d+) ms \(limit (\d+) ms\)", r.message)
    if m is None:
        return False
    took, limit = int(m.group(1)), int(m.group(2))
    return took > limit


@slicing_function()
def disk_nearly_full(r):
    found = re.findall(r"(\d+)%", r.message)
    return any(int(p) > 90 for p in found)


@slicing_function()
def failed_login(r):
    pairs = dict(PAIR.findall(r.message))
    return pairs.get("action") == "login" and pairs.get("result") != "ok"


@slicing_function()
def retried_most(r):
    m = re.search(r"retry (\d)/(\d)", r.message)
    return bool(m) and int(m[1]) * 2 >= int(m[2])


@slicing_function()
def secret_in_message(r):
    return re.search(r"(password|token|secret)=\S+", r.message, re.IGNORECASE) is not None


@slicing_function()
def long_hex(r):
    return re.search(r"\b[0-9a-f]{32}\b", r.message) is not None


@slicing_function()
def python_traceback(r):
    return r.message.startswith("Traceback") and r.message.splitlines()[-1].endswith("'id'")


@slicing_function()
def exception_name(r):
    last = r.message.strip().split("\n")[-1]
    name = last.split(":")[0]
    return name.endswith("Error") or name.endswith("Exception")


@slicing_function()
def multi_line(r):
    return "\n" in r.message


@slicing_function()
def truncated(r):
    return len(r.message) >= 500


@slicing_function()
def json_like(r):
    s = r.message.strip()
    return s[:1] == "{" and s[-1:] == "}"


@slicing_function()
def static_file(r):
    return r.url.lower().endswith(STATIC)


@slicing_function()
def static_by_glob(r):
    return any(fnmatch.fnmatch(r.url, p) for p in ("/static/*", "/img/*"))


@slicing_function()
def api_v2(r):
    return r.url.startswith("/api/v2/")


@slicing_function()
def deep_path(r):
    return len([p for p in r.url.split("?")[0].split("/") if p]) > 3


@slicing_function()
def campaign(r):
    query = parse_qs(urlparse(r.url).query)
    return any(k.startswith("utm_") for k in query)


@slicing_function()
def path_traversal(r):
    return ".." in unquote(r.url)


@slicing_function()
def sql_injection(r):
    u = r.url.replace("%20", " ").replace("%27", "'").replace("%3D", "=").lower()
    return "' or 1=1" in u or "union select" in u


@slicing_function()
def long_number_in_path(r):
    return any(part.isdigit() and len(part) > 8 for part in r.url.split("/"))


@slicing_function()
def other_port(r):
    parsed = urlparse(r.url)
    return parsed.port is not None and parsed.port not in (80, 443)


@slicing_function()
def huge_response(r):
    return r.size > 10 * 1024 * 1024


@slicing_function()
def throughput_low(r):
    if r.ms > 0 and r.size > 0:
        return r.size / r.ms < 10
    return False


@slicing_function()
def internal_client(r):
    return r.client.startswith(("10.", "192.168.", "127.")) or (
        r.client.startswith("172.") and 16 <= int(r.client.split(".")[1]) <= 31
    )


@slicing_function()
def not_ipv4(r):
    return re.match(r"^(\d{1,3}\.){3}\d{1,3}$", r.client) is None


@slicing_function()
def same_subnet(r):
    return r.client.rpartition(".")[0] == "10.1.2"


@slicing_function()
def crawler(r):
    return bool(BOTS.search(r.agent))


@slicing_function()
def script_client(r):
    tool = r.agent.split("/", 1)[0].lower()
    return tool in {"curl", "wget", "python-requests"}


@slicing_function()
def old_curl(r):
    if not r.agent.startswith("curl/"):
        return False
    major, minor, *_ = r.agent[5:].split(".")
    return (int(major), int(minor)) < (8, 5)


@slicing_function()
def mobile(r):
    return any(d in r.agent for d in ["iPhone", "Android", "iPad"])


@slicing_function()
def json_request(r):
    return (r.headers or {}).get("content-type", "") == "application/json"


@slicing_function()
def header_ignoring_case(r):
    headers = {k.lower(): v for k, v in r.headers.items()}
    kind = headers.get("content-type")
    return kind is not None and kind.startswith("text/")


@slicing_function()
def prefers_german(r):
    languages = (
        [p.split(";")[0] for p in r.headers["accept-language"].split(",")]
        if ("accept-language" in r.headers)
        else []
    )
    return languages[:1] == ["de-DE"]


@slicing_function()
def recursion(r):
    calls = [c for c in r.stack if c]
    return any(a == b for a, b in zip(calls, calls[1:]))


@slicing_function()
def through_database(r):
    return any(f is not None and ("Db" in f or f == "query") for f in r.stack)


@slicing_function()
def deep_stack(r):
    return r.stack is not None and len(r.stack) > 2


@slicing_function()
def gave_up(r):
    return r.retries >= 3


@slicing_function()
def european(r):
    return r.host.zone.startswith("eu-")


@slicing_function()
def canary_host(r):
    return int(r.host.name.split("-")[1]) % 10 == 1


@slicing_function()
def in_maintenance_window(r):
    return MAINTENANCE[0] <= r.ts.hour < MAINTENANCE[1] and r.ts.weekday() == 0


@slicing_function()
def minute_of_day(r):
    return r.ts.hour * 60 + r.ts.minute > 555


@slicing_function()
def around_the_clock_change(r):
    changed = utc(2024, 10, 27, 1)
    return abs(r.ts - changed) <= timedelta(hours=1)


@slicing_function()
def same_day(r):
    return r.ts.strftime("%Y-%m-%d") == "2024-06-03"


@slicing_function()
def after_epoch_second(r):
    return r.ts.timestamp() > 1_717_400_000


@slicing_function()
def basic_auth_with_password(r):
    if not r.auth.startswith("Basic "):
        return False
    try:
        plain = base64.b64decode(r.auth[6:], validate=True).decode()
    except (binascii.Error, UnicodeDecodeError):
        return False
    return ":" in plain


@slicing_function()
def auth_kind(r):
    match r.auth.split(" "):
        case ["Bearer", token]:
            return token.count(".") == 2
        case ["Basic", _]:
            return False
        case _:
            return None


@slicing_function()
def mostly_database(r):
    total = sum(s.ms or 0.0 for s in r.spans)
    db = sum(s.ms or 0.0 for s in r.spans if s.name == "db")
    return total > 0 and db / total > 0.5


@slicing_function()
def slowest_span(r):
    worst = max((s for s in r.spans if s.ms is not None), key=lambda s: s.ms, default=None)
    return worst is not None and worst.name == "db"


@slicing_function()
def write_by_match(r):
    match r.method:
        case "POST" | "PUT" | "PATCH" | "DELETE":
            return True
        case str():
            return False
    return None


def level_is(x, level):
    return x.level == level


info_level = SlicingFunction("info_level", level_is, resources={"level": "INFO"})
debug_level = SlicingFunction("debug_level", level_is, resources={"level": "DEBUG"})
