"""Predicates as people write them, over the columns of `TABLE`."""

from __future__ import annotations

TABLE = """
SELECT * FROM VALUES
  (1, 10L, 1.5D, CAST(2.50 AS DECIMAL(10, 2)), 'spam', true, DATE'2024-05-01',
   TIMESTAMP'2024-05-01 10:00:00', array(1, 2, 3), map('k', 1), named_struct('x', 1, 'y z', 'b')),
  (2, -9223372036854775808L, CAST('NaN' AS DOUBLE), 0.00, 'It''s\\n 100% "free" \\\\d', false,
   DATE'1969-12-31', TIMESTAMP'1970-01-01 00:00:00', array(), map(),
   named_struct('x', -5, 'y z', '')),
  (3, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL),
  (-7, 0L, -0.0D, -12345678.99, 'Ünïcödé 😀 $HOME a_b', true, DATE'2030-01-01',
   TIMESTAMP'2024-12-31 23:59:59.999999', array(NULL, 0), map('a', NULL),
   named_struct('x', NULL, 'y z', NULL))
  AS t(i, l, d, m, s, b, day, at, a, kv, `st`)
"""

# Spark reads the same tree in these words and in those that are written anew.
SAME = r"""
i > 1
i = 1 AND l <> 2 OR NOT b
NOT i = 1 AND b
!b OR i != 2
i == 1
i <=> 2
s <=> NULL
i IS DISTINCT FROM l
i IS NOT DISTINCT FROM l
b IS TRUE
b IS NOT TRUE
b IS NOT FALSE
s IS NULL
s IS NOT NULL
i + 1 * 2 - 3 / 4 % 5 > 6
(i + 1) * (2 - 3) > 6
i - (1 - 2) > 0
i - 1 - 2 > 0
i / (2 / 3) > 0
-i < 1
-(-i) < 1
- - i < 1
~i > 0
+i > 0
i DIV 2 = 1
i & 4 = 4
(i & 4) | 1 = 5
i << 2 > 1
i >> 2 > 1
s || 'x' = 'spamx'
s LIKE '%a_'
s NOT LIKE '%a_'
s LIKE '100\\%%'
s LIKE 'a/_b' ESCAPE '/'
s ILIKE 'SPAM%'
s NOT ILIKE 'SPAM%'
s LIKE ANY ('a%', 's%')
s LIKE ALL ('a%', 's%')
s NOT LIKE ALL ('a%', 's%')
s RLIKE '^s.*m$'
s REGEXP 'a|b'
NOT s RLIKE 'x'
s NOT RLIKE 'x'
s RLIKE '\\d+\\s'
i IN (1, 2, 3)
i NOT IN (1, 2)
(i, s) IN ((1, 'spam'), (2, 'b'))
i BETWEEN 1 AND 2
i NOT BETWEEN 1 AND 2 AND b
i BETWEEN -1 + 0 AND 2 * 3 OR b
i = 1 = b
i < 2 = b
i = 1 IS NULL
(i = 1) = (s IS NULL)
CASE WHEN i > 1 THEN b WHEN i < 0 THEN NOT b ELSE false END
CASE i WHEN 1 THEN true WHEN 2 THEN false END
if(i > 1, b, NOT b)
coalesce(b, i > 1, false)
length(s) > 3 AND upper(s) = 'SPAM'
substring(s, 1, 2) = 'sp'
position('a', s) > 0
instr(s, 'a') > 0
trim(s) = 'spam'
concat(s, '-', s) = 'spam-spam'
int(s) = 7
boolean(s)
date(s) = day
timestamp(s) = at
decimal(s) = m
CAST(i AS BIGINT) = l
CAST(s AS DECIMAL(10, 2)) = m
cast(a as array<string>) IS NOT NULL
CAST(st AS STRUCT<x: INT, `y z`: STRING>).x = 1
CAST(kv AS MAP<STRING, DOUBLE>)['k'] = 1
try_cast(s AS INT) = 1
i::bigint = l
CAST(s AS TIMESTAMP_NTZ) IS NULL
CAST(day AS STRING) = '2024-05-01'
CAST(d AS FLOAT) = d
a[0] = 1
a[i - 1] = 1
kv['k'] = 1
st.x = 1
st.`y z` = 'b'
`st`.`x` = 1
t.i = 1
exists(a, x -> x > 2)
forall(a, x -> x IS NULL OR x > 0)
size(filter(a, (x, j) -> x > j)) > 1
aggregate(a, 0, (acc, x) -> acc + coalesce(x, 0)) > 3
transform(a, x -> x + 1)[0] = 2
array_contains(a, 2)
array(1, 2)[0] = i
map('a', 1)['a'] = i
named_struct('q', i).q = 1
element_at(a, 1) = 1
extract(YEAR FROM day) = 2024
day > date_add(day, -1)
datediff(day, day) = 0
dateadd(DAY, 1, day) > day
timestampdiff(HOUR, at, at) = 0
date_diff(MONTH, at, at) = 0
at - INTERVAL '1' DAY < at
at + INTERVAL '1-2' YEAR TO MONTH > at
at - INTERVAL '1 02:03:04' DAY TO SECOND < at
day + INTERVAL '3' MONTH > day
greatest(i, l, 3) > 2
s = ''
s = 'it\'s'
s = 'it''s'
s = '''' || 'a' ' b'
s = "a""b"
s = 'a' 'b' 'c'
s = 'a''' 'b'
s = "a''b"
s = "it's"
s = "say \"hi\""
s = 'a\nb\tc\\d'
s = '\u00dcn\U0001F600'
s = '\101\102'
s = '\%\_'
s = '\q\"'
s = r'a\d'
s = R"a\d'"
s = '-- no comment /* none */'
s = ';'
s = 'Ünïcödé 😀'
i /* a /* nested */ comment */ = 1 -- the end
true
false
NULL
b
i = 1.5
i = .5
i = 1.
d = 1e3
d > -1E-3
l = -9223372036854775808
i = 2147483648
mask(s, 'X') = 'xxxx'
mask(s, upperChar => 'Q') = 'xxxx'
from_json(s, 'a INT').a = 1
get_json_object(s, '$.a') = 'b'
split(s, '[,;]')[0] = 'a'
regexp_replace(s, '(\\w)', '$1') = s
regexp_like(s, 'a')
left(s, 1) = 's' AND right(s, 1) = 'm'
nvl(s, 'x') = 'x'
hash(i) > 0
X'1F' = cast(s AS BINARY)
shiftright(i, 1) = 0
""".strip().splitlines()

# Spark's tree has other nodes, and must give the same values of the same type.
SAME_VALUES = r"""
i = 1L
i < 2S AND i > 0Y
d = 1.5D
d = 1.5F
m = 2.50BD
l = -5L
day = DATE'2024-05-01'
day > date '2024-01-01'
at > TIMESTAMP'2024-05-01 00:00:00'
at > timestamp '2024-05-01T00:00:00+02:00'
CAST(at AS TIMESTAMP_NTZ) > TIMESTAMP_NTZ'2024-05-01 00:00:00'
at - INTERVAL 2 DAYS < at
at - INTERVAL -2 DAYS > at
at + INTERVAL 1 DAY 2 HOURS > at
at + INTERVAL '1 day 2 hours' > at
at + INTERVAL '3 weeks' > at
day + INTERVAL 1 YEAR > day
substr(s, 2) = 'pam'
struct(i AS x, s).x = 1
EXTRACT(second FROM at) > 1
b IS UNKNOWN
b IS NOT UNKNOWN
TRIM(BOTH 's' FROM s) = 'pam'
TRIM(LEADING FROM s) = 'spam'
trim('s', s) = 'pam'
SUBSTRING(s FROM 2 FOR 2) = 'pa'
POSITION('a' IN s) = 3
overlay(s PLACING 'X' FROM 2) = 'sXam'
OVERLAY(s PLACING 'X' FROM 2 FOR 2) = 'sXm'
position('a', s, 2) = 3
CAST(s AS CHAR(3)) = 'spam'
CAST(i AS LONG) = l
CAST(i AS SHORT) = i
CAST(s AS VARCHAR(10)) = 'spam'
at >= DATE'2024-05-01' AND at < DATE'2024-05-01' + INTERVAL '1' DAY
""".strip().splitlines()
