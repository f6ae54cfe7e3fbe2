"""What predicates may not be, by hand and made up: refused by a sentence, or harmless."""

from __future__ import annotations

import itertools
import random
import re

import pytest
import sqlglot

from engine.errors import PredicateError
from engine.predicates.functions import ALLOWED, REFUSED, refused
from engine.predicates.predicate import DEEPEST, LONGEST, read
from tests.predicates.corpus import SAME, SAME_VALUES

SUBQUERY = "has a subquery, and may look at its own row only"
STATEMENT = "is a statement, and must be an expression"
SEMICOLON = "has a semicolon, and must be one expression"
JAVA, RANDOM = "which runs Java code", "which answers otherwise each time"
OPEN = "is not SQL: a text, a name or a comment doesn't end"

HOSTILE = {
    # Other code.
    "java_method('java.lang.System', 'exit', 0) IS NULL": f"calls java_method(), {JAVA}",
    "reflect('java.lang.Runtime', 'getRuntime') = ''": f"calls reflect(), {JAVA}",
    "REFLECT('java.lang.System', 'getenv', 'HOME') = ''": f"calls reflect(), {JAVA}",
    "try_reflect('java.lang.System', 'exit', 0) IS NULL": f"calls try_reflect(), {JAVA}",
    "`reflect`('a', 'b') = ''": f"calls reflect(), {JAVA}",
    "re/**/flect('a', 'b') = ''": "is not SQL",
    "reflect /* x */ ('a', 'b') = ''": f"calls reflect(), {JAVA}",
    "system.builtin.reflect('a', 'b') = ''": "calls ",
    "exists(a, x -> java_method('a', x) = '')": f"calls java_method(), {JAVA}",
    "CASE WHEN b THEN reflect('a', 'b') = '' END": f"calls reflect(), {JAVA}",
    "if(b, reflect('a', 'b'), '') = ''": f"calls reflect(), {JAVA}",
    "s IN (reflect('a', 'b'))": f"calls reflect(), {JAVA}",
    "s LIKE ANY (reflect('a', 'b'))": f"calls reflect(), {JAVA}",
    "s BETWEEN reflect('a', 'b') AND 'z'": f"calls reflect(), {JAVA}",
    "CAST(reflect('a', 'b') AS INT) = 1": f"calls reflect(), {JAVA}",
    "a[reflect('a', 'b')] = 1": f"calls reflect(), {JAVA}",
    "named_struct('x', reflect('a', 'b')).x = ''": f"calls reflect(), {JAVA}",
    "trim(BOTH reflect('a', 'b') FROM s) = ''": f"calls reflect(), {JAVA}",
    "substring(reflect('a', 'b') FROM 1) = ''": f"calls reflect(), {JAVA}",
    "overlay(s PLACING reflect('a', 'b') FROM 1) = ''": f"calls reflect(), {JAVA}",
    "position(reflect('a', 'b') IN s) = 1": f"calls reflect(), {JAVA}",
    "extract(YEAR FROM reflect('a', 'b')) = 1": f"calls reflect(), {JAVA}",
    "extract(reflect('a', 'b') FROM day) = 1": "extracts something that is no unit of time",
    "interval reflect('a', 'b') day > x": "",
    "mask(s, upperChar => reflect('a', 'b')) = ''": f"calls reflect(), {JAVA}",
    "identifier('reflect')('a', 'b') = ''": "",
    "identifier('s') = 'x'": "calls identifier(), which depends on who runs it, and in which",
    "TRANSFORM(a) USING 'cat /etc/passwd' AS (b)": "",
    # What can't be repeated.
    "rand() < 0.5": f"calls rand(), {RANDOM}",
    "RAND( ) < 0.5": f"calls rand(), {RANDOM}",
    "rand(1) < 0.5": f"calls rand(), {RANDOM}",
    "`rand`() < 0.5": f"calls rand(), {RANDOM}",
    "random() < 0.5": f"calls random(), {RANDOM}",
    "randn() < 0.5": f"calls randn(), {RANDOM}",
    "uniform(0, 10) < 5": f"calls uniform(), {RANDOM}",
    "randstr(5) = 'a'": f"calls randstr(), {RANDOM}",
    "uuid() > 'a'": f"calls uuid(), {RANDOM}",
    "shuffle(a)[0] = 1": f"calls shuffle(), {RANDOM}",
    "monotonically_increasing_id() < 5": f"calls monotonically_increasing_id(), {RANDOM}",
    "spark_partition_id() = 0": "calls spark_partition_id(), which depends on where a row is",
    "input_file_name() LIKE '%'": "calls input_file_name(), which depends on where a row is",
    "input_file_block_start() = 0": "calls input_file_block_start(), which depends on where",
    "current_user() = 'root'": "calls current_user(), which depends on who runs it",
    "session_user() = 'root'": "calls session_user(), which depends on who runs it",
    "user() = 'root'": "calls user(), which depends on who runs it",
    "current_database() = 'x'": "calls current_database(), which depends on who runs it",
    "current_catalog() = 'x'": "calls current_catalog(), which depends on who runs it",
    "current_timezone() = 'x'": "calls current_timezone(), which depends on who runs it",
    "version() = '4'": "calls version(), which depends on who runs it",
    "unix_timestamp() > 5": "calls unix_timestamp() of the time at which it runs; give it a time",
    "to_unix_timestamp() > 5": "calls to_unix_timestamp() of the time at which it runs",
    "current_time() > x": "calls current_time(), which depends on the time at which it runs",
    "DATE'today' = day": "casts 'today', which means another time each day; write current_date()",
    "date ' Tomorrow' = day": "casts 'tomorrow', which means another time each day",
    "TIMESTAMP'now' > at": "casts 'now', which means another time each day",
    "CAST('yesterday' AS TIMESTAMP) < at": "casts 'yesterday', which means another time each day",
    "'now'::timestamp < at": "casts 'now', which means another time each day",
    "try_cast('today' AS DATE) = day": "casts 'today', which means another time each day",
    "CAST(lower('TODAY') AS DATE) = day": "casts a computed text to a time: write the time itself",
    "CAST('to' || 'day' AS DATE) = day": "casts a computed text to a time: write the time itself",
    # Other rows, tables and files.
    "s IN (SELECT value FROM text.`/etc/passwd`)": SUBQUERY,
    "s IN (SELECT * FROM json.`/etc/passwd`)": SUBQUERY,
    "s = (SELECT max(value) FROM text.`/etc/passwd`)": SUBQUERY,
    "EXISTS (SELECT 1 FROM t)": SUBQUERY,
    "NOT EXISTS (SELECT 1)": SUBQUERY,
    "exists(SELECT 1)": SUBQUERY,
    "s IN (WITH x AS (SELECT 1) SELECT * FROM x)": SUBQUERY,
    "s IN (TABLE t)": "",
    "s IN (VALUES ('a'))": "",
    "s IN (FROM t SELECT s)": "",
    "(SELECT 1) = 1": SUBQUERY,
    "((SELECT 1)) = 1": SUBQUERY,
    "i = ANY (SELECT 1)": "",
    "i = ALL (SELECT 1)": "",
    "array(SELECT 1)[0] = 1": SUBQUERY,
    "exists(a, x -> x IN (SELECT 1))": SUBQUERY,
    "(SELECT 1 UNION SELECT 2) = 1": SUBQUERY,
    "explode(a) = 1": "calls explode(), which makes rows, and a predicate tells of one",
    "posexplode(a) = 1": "calls posexplode(), which makes rows",
    "inline(a) = 1": "calls inline(), which makes rows",
    "stack(2, 1, 2) = 1": "calls stack(), which makes rows",
    "json_tuple(s, 'a') = 1": "calls json_tuple(), which makes rows",
    "range(5) = 1": "calls range(), which makes rows",
    "count(*) > 1": "",
    "count(DISTINCT i) > 1": "",
    "max(i) = 1": "calls max(), which is of many rows, and a predicate is of one",
    "sum(i) OVER (PARTITION BY s) > 1": "",
    "row_number() OVER (ORDER BY i) = 1": "",
    "lag(i) OVER (ORDER BY i) = 1": "",
    "first(i IGNORE NULLS) = 1": "",
    "sum(i) FILTER (WHERE b) > 1": "",
    "from_avro(s, 'x').a = 1": "calls from_avro(), which reads a file that its arguments name",
    "from_protobuf(s, 'm', '/etc/passwd').a = 1": "calls from_protobuf(), which reads a file",
    "read_files('/etc/passwd') = 1": "calls read_files(), which isn't one of Spark's functions",
    "ai_query('a', s) = 1": "calls ai_query(), which isn't one of Spark's functions",
    "http_request('http://x') = 1": "calls http_request(), which isn't one of Spark's functions",
    "secret('scope', 'key') = s": "calls secret(), which isn't one of Spark's functions",
    "my_udf(s)": "calls my_udf(), which isn't one of Spark's functions that predicates may call",
    "db.my_udf(s)": "calls db.my_udf(), which isn't one of Spark's functions",
    "cat.db.my_udf(s)": "calls ",
    "`my udf`(s)": "calls my udf(), which isn't one of Spark's functions",
    # Statements.
    "SELECT 1": STATEMENT,
    "SELECT true": STATEMENT,
    "WITH x AS (SELECT 1) SELECT * FROM x": STATEMENT,
    "FROM t": STATEMENT,
    "VALUES (1)": "",
    "TABLE t": "",
    "DROP TABLE t": STATEMENT,
    "DELETE FROM t": STATEMENT,
    "INSERT INTO t VALUES (1)": STATEMENT,
    "UPDATE t SET a = 1": STATEMENT,
    "MERGE INTO t USING s ON true WHEN MATCHED THEN DELETE": STATEMENT,
    "CREATE TABLE t AS SELECT 1": STATEMENT,
    "ALTER TABLE t ADD COLUMN x INT": STATEMENT,
    "TRUNCATE TABLE t": STATEMENT,
    "SET spark.sql.ansi.enabled = false": "",
    "USE db": STATEMENT,
    "SHOW TABLES": "",
    "DESCRIBE t": "",
    "EXPLAIN SELECT 1": "",
    "CACHE TABLE t": "",
    "REFRESH TABLE t": "",
    "ADD JAR '/tmp/x.jar'": "",
    "LOAD DATA INPATH 'x' INTO TABLE t": "",
    "BEGIN SELECT 1; END": "",
    "CALL x()": "",
    "DECLARE x = 1": "",
    "VACUUM t": "",
    "OPTIMIZE t": "",
    "true; DROP TABLE t": SEMICOLON,
    "true;": SEMICOLON,
    ";": SEMICOLON,
    "true; --": SEMICOLON,
    "1 = 1) OR (1 = 1": "is not SQL",
    "true) THEN named_struct('version', '1') WHEN (true": "is not SQL",
    "true\n) UNION SELECT 1 --": "is not SQL",
    "true -- \n) OR (true": "is not SQL",
    # Parameters, variables and substitution.
    "${env:HOME} = s": "",
    "${spark.app.name} = s": "",
    "`${env:HOME}` = s": "has the name '${env:HOME}', which can't be a column's",
    ":param = 1": "",
    "? = 1": "",
    "@x = 1": "",
    "{{ x }} = 1": "",
    "{% x %} = 1": "",
    "{x} = 1": "",
    "$x = 1": "",
    # Other grammars.
    "s -> 'a' = 1": "",
    "s ->> 'a' = 1": "",
    "s:a = 1": "",
    "s ?? 'a' = 'a'": "",
    "s @> 'a'": "",
    "s ~ 'a'": "",
    "s SIMILAR TO 'a'": "",
    "s GLOB 'a'": "",
    "s OVERLAPS 'a'": "",
    "i ** 2 = 1": "",
    "i // 2 = 1": "",
    "i != ALL (1, 2)": "",
    "x FOR x IN a": "",
    "[1, 2][0] = 1": "",
    "i IN [1, 2] = [3]": "",
    "i BETWEEN SYMMETRIC 1 AND 2": "",
    "i COLLATE utf8 = 1": "",
    "at AT TIME ZONE 'UTC' > at": "",
    "s IS JSON": "",
    "i IS 5": "",
    "i AS x": "has a name for a value (AS), which only struct(...) takes",
    "i x": "has a name for a value (AS), which only struct(...) takes",
    "abs(i AS x) = 1": "has a name for a value (AS), which only struct(...) takes",
    "*": "",
    "t.*": "",
    "struct(*) IS NULL": "",
    "x -> x": "",
    "(x, y) -> x": "",
    "N'x' = s": "",
    "0x1F = i": "has the number '0x1F', which Spark can't read",
    "CAST(s AS foo) = 1": "is not SQL",
    "CAST(s AS STRING COLLATE x) = 1": "",
    "CAST(s AS INT FORMAT 'x') = 1": "",
    "CAST(s, 'INT') = 1": "",
    "/*+ BROADCAST(t) */ SELECT 1": "",
    "i IGNORE NULLS": "",
    "i LIMIT 1": "",
    "i ORDER BY 1": "",
    "i = 1 GROUP BY 1": "",
    "i = 1 WHERE true": "",
    "i = 1 UNION SELECT 1": "",
    # What two parsers may read in two ways.
    "i | 1 & 2 = 3": "leaves open whether 'i | 1' is a part by itself: put it in brackets",
    "i ^ 1 & 2 = 3": "leaves open whether 'i ^ 1' is a part by itself: put it in brackets",
    "s || i + 1 = 'a'": "leaves open whether 'i + 1' is a part by itself: put it in brackets",
    "b = s LIKE 'a'": "leaves open whether \"s LIKE 'a'\" is a part by itself",
    "b = i IN (1)": "leaves open whether 'i IN (1)' is a part by itself",
    "b = i BETWEEN 1 AND 2": "leaves open whether 'i BETWEEN 1 AND 2' is a part by itself",
    "b <=> i < 2": "leaves open whether 'i < 2' is a part by itself",
    "i = 1 < 2": "leaves open whether '1 < 2' is a part by itself",
    # No SQL at all.
    "": "is empty",
    "   ": "is empty",
    "-- only a comment": "is empty",
    "'": OPEN,
    '"': OPEN,
    "`": OPEN,
    "s = 'abc": OPEN,
    "/* no end": OPEN,
    "(": "is not SQL",
    ")": "is not SQL",
    "((i = 1)": "is not SQL",
    "i = 1)": "is not SQL",
    "i =": "is not SQL: syntax error at or near end of input",
    "= 1": "is not SQL",
    "AND": "is not SQL",
    "NOT": "is not SQL: syntax error at or near end of input",
    "CASE": "is not SQL",
    "CASE WHEN": "is not SQL",
    "CASE WHEN b THEN": "is not SQL",
    "i IN": "",
    "i IN (": "is not SQL",
    "i BETWEEN 1": "is not SQL",
    "CAST(i": "is not SQL",
    "CAST(i AS": "is not SQL",
    "abs(": "is not SQL",
    "abs(,)": "is not SQL",
    "i,": "",
    "a[": "is not SQL",
    "st.": "is not SQL",
    "i = \x00": "",
    "i = 1 \ufeff 2": "",
    "<script>alert(1)</script>": "",
    "../../etc/passwd": "",
    "__import__('os').system('id')": "",
    "!!python/object/apply:os.system ['id']": "",
    "' OR '1'='1": "",
}


@pytest.mark.parametrize("text", HOSTILE)
def test_a_hostile_predicate_is_refused_by_a_sentence(text):
    with pytest.raises(PredicateError) as raised:
        print(read(text).sql())
    sentence = str(raised.value)
    assert sentence.startswith(HOSTILE[text])
    assert len(sentence) < 400
    assert "\n" not in sentence
    assert "sqlglot" not in sentence


HARMLESS = {
    "s = '${env:HOME}'": "`s` = '\\u0024{env:HOME}'",
    "s = '\\'; DROP TABLE t; --'": "`s` = '\\'; DROP TABLE t; --'",
    "s = '*/ OR true /*'": "`s` = '*/ OR true /*'",
    "`s` = 'a' /* */": "`s` = 'a'",
    "`a``; DROP TABLE t; --` = 1": "`a``; DROP TABLE t; --` = 1",
    "/*+ hint */ b": "`b`",
    "s = 'a\nb'": "`s` = 'a\\u000Ab'",
    "s = '\x1b[31m'": "`s` = '\\u001B[31m'",
    "user = 'x'": "`user` = 'x'",
    "i - -1 = - - 1": "`i` - -1 = -(-1)",
    "i --1\n= 1": "`i` = 1",
    "reflect = 'x'": "`reflect` = 'x'",
    "`rand` < 1": "`rand` < 1",
}


@pytest.mark.parametrize("text", HARMLESS)
def test_what_looks_hostile_is_data(text):
    assert read(text).sql() == HARMLESS[text]


@pytest.mark.parametrize("name", sorted(REFUSED))
def test_no_setting_allows_what_is_refused(name):
    with pytest.raises(PredicateError, match=f"^calls {name}\\(\\), which "):
        read(f"{name}(i) = 1", [name])
    assert refused(name) == f"{name!r} can't be allowed: it {REFUSED[name]}"


def test_functions_of_ones_own_are_allowed_by_name():
    assert read("my_udf(s)", ["MY_UDF"]).sql() == "my_udf(`s`)"
    assert read("db.f(s)", ["db.f"]).sql() == "db.f(`s`)"
    assert read("cat.db.f(s)", ["cat.db.f"]).sql() == "cat.db.f(`s`)"
    assert read("any_of_mine(s)", None).sql() == "any_of_mine(`s`)"
    with pytest.raises(PredicateError):
        read("db.abs(s)", ["my_udf"])


@pytest.mark.parametrize(
    "text",
    [
        "a" * (LONGEST + 1), "(" * 5000 + "b" + ")" * 5000, "abs(" * (DEEPEST + 1),
        "NOT " * 20000 + "b", "- " * 20000 + "i = 1", "CASE WHEN b THEN " * 20000, "a[" * 3000,
        "transform(a, x -> " * 400, "CAST(" * 400, "array<" * 400, "'" * 9999, "/*" * 9999,
    ],
    ids=lambda text: text[:9],
)  # fmt: skip
def test_long_and_deep_texts_are_refused_soon(text):
    with pytest.raises(PredicateError):
        read(text)


def test_a_long_chain_is_no_deep_one():
    assert len(read(" OR ".join(f"i = {n}" for n in range(3000))).sql()) > 30_000


PIECES = [
    *"()[]{}<>=!~^&|+-*/%.,;:?@#$`'\"\\",
    *(" ", "\n", "\t", "\x00", "i", "s", "a", "1", "1e3", "'x'", "NULL", "AND", "OR", "NOT", "IN"),
    *("LIKE", "BETWEEN", "IS", "CASE", "WHEN", "THEN", "ELSE", "END", "CAST", "AS", "SELECT"),
    *("FROM", "WHERE", "EXISTS", "INTERVAL", "DATE", "reflect", "rand", "abs", "exists", "->"),
    *("=>", "::", "--", "/*", "*/", "||", "<=>", "DROP", "TABLE", "UNION", "LATERAL", "VIEW"),
    *("OVER", "json.`/etc/passwd`", "text.`/etc/passwd`", "java_method", "${env:HOME}"),
    *("current_date", "DISTINCT", "(i)", "i = 1", "abs(i)", "s LIKE 'a'", "(", ")"),
]
QUOTED = re.compile(r"`(?:[^`]|``)*`|'(?:[^'\\]|\\.)*'|X'[0-9A-Fa-f]*'")


def check_written(sql):
    """What is written calls nothing that is refused, and is nothing but an expression."""
    assert "\n" not in sql
    bare = QUOTED.sub("x", sql)
    assert not re.search(r";|--|/\*|\$|\bSELECT\b|\bOVER\b|\bUNION\b", bare), sql
    for name in re.findall(r"([A-Za-z_]\w*)\(", bare):
        assert name.lower() not in REFUSED, sql


def outcome(text: str) -> bool:
    """Read a text; tell whether it is taken."""
    try:
        sql = read(text).sql()
    except PredicateError as error:
        sentence = str(error)
    else:
        check_written(sql)
        return True
    assert "\n" not in sentence
    return False


@pytest.mark.parametrize("seed", range(20))
def test_made_up_texts_are_refused_or_written_as_one_expression(seed):
    draw, taken = random.Random(seed), 0
    for _ in range(300):
        text = draw.choice(["", " "]).join(draw.choices(PIECES, k=draw.randrange(1, 9)))
        taken += outcome(text)
    assert taken


@pytest.mark.parametrize("seed", range(10))
def test_good_predicates_that_are_spoilt_are_refused_or_written_as_one_expression(seed):
    draw = random.Random(seed)
    for text in [*SAME, *SAME_VALUES]:
        at, piece = draw.randrange(len(text)), draw.choice(PIECES)
        spoilt = text[:at] + piece + text[at + draw.randrange(3) :]
        outcome(spoilt)


@pytest.mark.parametrize("text", [*SAME, *SAME_VALUES])
def test_what_is_written_is_written_the_same_again(text):
    sql = read(text).sql()
    assert read(sql).sql() == sql


def test_each_function_that_is_allowed_can_be_called():
    syntax = {"between", "if", "overlay", "position", "trim", "when"}
    for name, args in itertools.product(sorted(ALLOWED - syntax), ("s", "s, i", "s, i, 1")):
        assert read(f"{name}({args}) IS NULL").sql()


def test_the_version_that_reads_them():
    assert sqlglot.__version__.startswith("30.")
