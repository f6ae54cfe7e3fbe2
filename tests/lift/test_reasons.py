"""Why functions aren't lifted, in full: what stands in the line that is named."""

from __future__ import annotations

import linecache

import pytest

from engine.lift.lift import NotLifted, lift

MORE = {name: __import__(name) for name in ("collections", "itertools", "re", "functools")}
OF = "def f(x):\n    {}\n"


def function(body: str):
    text = OF.format("\n    ".join(body.split("\n")))
    name = f"<reason {body}>"
    linecache.cache[name] = len(text), None, text.splitlines(keepends=True), name
    names = {**MORE, "WORDS": [], "TABLE": {"f": print}}
    exec(compile(text, name, "exec"), names)
    return names["f"]


@pytest.mark.parametrize(
    ("body", "why"),
    [
        ("return max(**x.a)", "it calls a function with **"),
        ("return max(*x.a)", "it calls a function with * of a row's values"),
        ("return x.a(1)", "it calls the row's a()"),
        ("return (lambda *a: a)(x.a)", "it makes a function that takes *args or **kwargs"),
        ("return (lambda a: a)(1, 2)", "it calls a function with arguments that it doesn't take"),
        ("return (lambda a: a)()", "it calls a function without an argument that it takes"),
        ("def g(v):\n    return g(v)\nreturn g(x.a)", "'g' may have no value here"),
        ("n = 1\ng = lambda: n\nn = 2\nreturn g()", "it makes a function of names that change"),
        ("def g(v):\n    nonlocal x\n    return v\nreturn g(x.a)",
         "it makes a function that is more than one of its arguments"),
        ("return {**x.a}", "it unpacks a dict"),
        ("return (*x.a, 1) == ()", "it unpacks a collection"),
        ("return f'{x.a:{x.b}}' == ''", "it formats text in a way that isn't constant"),
        ("return '{:{}}'.format(x.a, x.b) == ''", "it formats text in a way that isn't constant"),
        ("return re.sub('a', str.upper, x.a) == ''",
         "it calls re.sub with a replacement that isn't constant"),
        ("return re.split(x.b, x.a) == []", "it calls re.split with a pattern that isn't constant"),
        ("return re.finditer('a') is None", "it calls re.finditer without a string"),
        ("g = itertools.groupby(x.a)\nreturn any(k for k, _ in g)", "it keeps a generator"),
        ("return any(list(g) == list(g) for _, g in itertools.groupby(x.a))",
         "it uses a group of groupby more than once"),
        ("a = x.a.split()\nb = a\nb += [1]\nreturn a",
         "it changes 'b', which others may have, too"),
        ("a = x.b\nfor v in x.a:\n    a += v\nreturn a",
         "it changes 'a', which others may have, too"),
        ("a = [1]\nfor v in a:\n    a.append(v)\nreturn x.a", "it changes what it loops over"),
        ("a = [x.a]\nfor v in x.b:\n    for w in sorted(a):\n        a.append(w)\nreturn a == 1",
         "it changes what it loops over"),
        ("for v in x.a:\n    n = v\nreturn n", "'n' may have no value here"),
        ("try:\n    return x.a\nfinally:\n    n = 1", "it has a try without except, or a finally "
                                                       "that does more"),
        ("try:\n    return x.a\nexcept ValueError:\n    n = 2\nfinally:\n    n = 1\nreturn n",
         "it returns before a finally"),
        ("WORDS.append(x.a)\nreturn True", "it calls append() of a list"),
        ("WORDS[0] = x.a\nreturn True", "it assigns to more than one target"),
        ("return x.a[0] == any((k := v) for v in x.b) and k",
         "it has a comprehension that binds a name with :="),
        ("while x.a:\n    return True", "it has a while loop"),
        ("return TABLE['f'](x.a)", "it calls print"),
    ],
)  # fmt: skip
def test_the_reason_is_said(body, why):
    answer = lift(function(body), {}, ["a", "b"], ["a"])
    assert isinstance(answer, NotLifted)
    assert answer.why == why
