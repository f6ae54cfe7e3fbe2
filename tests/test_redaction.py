"""What people may read: no secret, and nothing that commands a terminal."""

from __future__ import annotations

import io
import random
import time

import pandas as pd
import pytest

from engine.redaction import HIDDEN, SECRET_KEY, Readable, plain_text, readable, redacted
from engine.report.page import render
from engine.report.sections import Section
from engine.storage.lineage import deciding
from engine.storage.place import Place

SECRET = "hunter2"
SECRETS = [
    "jdbc:postgresql://ann:hunter2@db:5432/x",
    "jdbc:postgresql://db/x?user=ann&password=hunter2&ssl=true",
    "jdbc:postgresql:/ann:hunter2@db/x",
    "jdbc:sqlserver://h:1433;databaseName=x;user=sa;password=hunter2;encrypt=true",
    "jdbc:oracle:thin:scott/hunter2@//h:1521/x",
    "jdbc:mysql://h/x?user=a&PASSWORD=hunter2",
    "jdbc:snowflake://h/?private_key_file_pwd=hunter2",
    "jdbc:databricks://h:443;AuthMech=3;UID=token;PWD=hunter2",
    "mongodb+srv://ann:hunter2@h/db",
    "https://ann:hunter2@h/x",
    "https://hunter2@h/x",
    "ftp://ann:hun@ter:hunter2@h/x",
    "amqp://ann:hunter2@h",
    "https://a.blob.core.windows.net/c/f?sv=2020&sig=hunter2&se=1",
    "wasbs://c@a.blob.core.windows.net/?sig=hunter2",
    "abfss://ann:hunter2@a.dfs.core.windows.net/x",
    "s3a://AKIA:hunter2@bucket/x",
    "https://h/x?token=hunter2",
    "https://h/x?access_token=hunter2#top",
    "https://h/x?api_key=hunter2",
    "https://h/x?apikey=hunter2",
    "https://h/x?X-Amz-Signature=hunter2",
    "https://h/x?a=1&client_secret=hunter2",
    "spark.hadoop.fs.s3a.secret.key=hunter2",
    "spark.hadoop.fs.s3a.access.key: hunter2",
    "spark.hadoop.fs.azure.account.key.a.dfs.core.windows.net = hunter2",
    "fs.azure.sas.c.a.blob.core.windows.net=hunter2",
    "spark.ssl.keyStorePassword=hunter2",
    "spark.authenticate.secret=hunter2",
    "javax.net.ssl.trustStorePassword=hunter2",
    "dfs.adls.oauth2.credential=hunter2",
    "aws_secret_access_key = hunter2",
    "aws_session_token: hunter2",
    "AWS_SECRET_ACCESS_KEY=hunter2",
    "password: hunter2",
    "password = 'hunter2'",
    'password="hunter2 and more hunter2"',
    "PASSWORD=hunter2",
    "passwd=hunter2",
    "pwd=hunter2",
    "passphrase: hunter2",
    "{'password': 'hunter2', 'n': 1}",
    '{"db.password": "hunter2"}',
    "{'user': 'ann', 'api-key': 'hunter2'}",
    "Authorization: Bearer hunter2",
    "Authorization: Basic hunter2hunter2",
    "Bearer hunter2hunter2",
    "token=>hunter2",
    "secret -> hunter2",
    "private_key=hunter2",
    "SharedAccessKey=hunter2;EntityPath=x",
    "credentials: hunter2",
    "sasToken=hunter2",
    "ConfigError: spark.x.password: 'hunter2' must be text",
    "option url=https://h/?sig=hunter2",
    "options(url='jdbc:postgresql://db/x?password=hunter2')",
    "eyJhbGciOiJIUzI1NiJ9.hunter2.hunter2",
    "-----BEGIN RSA PRIVATE KEY-----\nhunter2\n-----END RSA PRIVATE KEY-----",
    "-----BEGIN PRIVATE KEY----- hunter2",
    "pass\x1b[0mword=hunter2",
    "pass\u200eword=hunter2",
]


@pytest.mark.parametrize("text", SECRETS)
def test_a_secret_is_hidden(text):
    shown = readable(f"it failed: {text}")
    assert SECRET not in shown
    assert HIDDEN in shown
    assert readable(shown) == shown


PLAIN = [
    "abfss://container@account.dfs.core.windows.net/x",
    "s3a://bucket/x",
    "hdfs://host:8020/x",
    "/data/tokens/passwords.csv",
    "slice 'has_token' failed on row id=7 having text='x'",
    "tokens=5, max_tokens: 12, n_tokens = 3",
    "keyword_please: 12",
    "the key (id) is null on 3 rows",
    "split='test', ds='2024-05-01'",
    "spark.driver.memory: must be text",
    "spark.x.password: must be text",
    "author: 'x', monkey=3, compass=1, design=2, assignment=4",
    "mail of ann@example.com",
    "a=b c:d e->f",
]


@pytest.mark.parametrize("text", PLAIN)
def test_what_is_no_secret_stays(text):
    assert readable(text) == text


CONTROLS = {
    "\x1b[2J\x1b[Hgone": "gone",
    "\x1b[31mred\x1b[0m": "red",
    "\x1b]0;title\x07text": "text",
    "\x1b]8;;http://evil\x1b\\link\x1b]8;;\x1b\\": "link",
    "\x1bPq#0;2;0;0;0\x1b\\x": "x",
    "\x9b31mred": "red",
    "\x1bc": "",
    "a\rb": "ab",
    "a\x08b": "ab",
    "a\x00b\x07": "ab",
    "\u202eevil\u202c": "evil",
    "\u2066x\u2069": "x",
    "\ufeffx": "x",
    "\ud800x": "x",
    "\x7f\x85x": "x",
    "tab\tand\nline": "tab\tand\nline",
    "Ünïcödé 😀": "Ünïcödé 😀",
}


@pytest.mark.parametrize("text", CONTROLS)
def test_what_commands_a_terminal_is_left_out(text):
    assert plain_text(text) == CONTROLS[text]


@pytest.mark.parametrize("seed", range(20))
def test_any_text_is_shown_soon_and_commands_nothing(seed):
    draw = random.Random(seed)
    parts = [*"[]PA=:@a.\n'\" \\", "\x1b", "31m", "\x07", "\x9b", "//", "jdbc:", "\u202e"]
    parts += ["token", "password", "eyJ", "-----BEGIN PRIVATE KEY"]
    for repeats in (1, 3000):
        text = "".join(draw.choices(parts, k=draw.randrange(1, 20))) * repeats
        start = time.monotonic()
        shown = readable(text)
        assert time.monotonic() - start < 5
        assert not set(shown) & {chr(c) for c in range(32)} - {"\n", "\t"}


def test_a_stream_to_people():
    written = io.StringIO()
    stream = Readable(written)
    print("token=abc \x1b[2J", file=stream)
    assert written.getvalue() == "token=*** \n"
    assert not stream.isatty()


def test_a_stream_that_lacks_letters_gets_escapes():
    raw = io.BytesIO()
    ascii_only = io.TextIOWrapper(raw, encoding="ascii", write_through=True)
    print("é😀", file=Readable(ascii_only))
    assert raw.getvalue() == b"\\xe9\\U0001f600\n"


@pytest.mark.parametrize(
    "key", ["spark.x.password", "fs.s3a.secret.key", "api_key", "token", "sas"]
)
def test_settings_that_nobody_reads(key):
    assert SECRET_KEY.search(key)


@pytest.mark.parametrize(
    "key", ["spark.driver.memory", "key", "keys", "tokens", "passed", "author"]
)
def test_settings_that_anybody_reads(key):
    assert not SECRET_KEY.search(key)


def test_a_place_is_shown_without_secrets_and_read_as_it_is():
    place = Place.of("https://ann:hunter2@h/x.csv?sig=hunter2")
    assert str(place) == "https://***@h/x.csv?sig=***"
    assert place.text == "https://ann:hunter2@h/x.csv?sig=hunter2"


def test_facts_are_the_same_with_and_without_their_secrets():
    facts = {"source": "https://u:hunter2@h/", "slices": {"token": "a1"}}
    assert deciding(facts) == deciding(
        {"source": redacted(facts["source"]), "slices": {"token": "a1"}}
    )
    assert deciding(facts)["slices"] == {"token": "a1"}


def test_a_page_runs_nothing_and_shows_no_secret():
    rows = pd.DataFrame(
        [("<b>m", "test", "<script>alert(1)</script>", "f1", 0.5, 10, 0, "ok")],
        columns=["model_id", "split", "slice", "metric", "value", "support", "n_null", "status"],
    )
    section = Section(
        "<img src=x onerror=alert(1)>", ["a"], [["\x1b[31m</td><script>x"]], "token=abc"
    )
    about = {"source": "jdbc:postgresql://u:hunter2@db/x", "\"'><svg onload=x>": "'\" onclick='x"}
    page = render("<script>n", about, rows, ["<b>m"], lambda metric: "high", [section])
    head = page.partition("</head>")[0]
    assert "Content-Security-Policy' content=\"default-src 'none'; style-src 'sha256-" in head
    assert "unsafe" not in head
    assert page.count("<script") == 2  # the figures, and the script that shows them
    shown = page.partition("</head>")[2].rpartition("<script>")[0]  # without what is ours
    for sign in ("<script>", "<img", "<svg", "<b>", "onclick='", "hunter2", "=abc", "\x1b"):
        assert sign not in shown
    assert "jdbc:postgresql://***@db/x" in page
