"""What people may read: texts without secrets, and without what commands a terminal.

Texts come from data, settings and other programs' messages. Wherever one leaves the engine, in a
message, a log, a table that we write, a commit's metadata or a report, it goes through here.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Any, TextIO

HIDDEN = "***"
_WORD = (
    r"pass(?:word|wd|phrase|code)?s?|pwd|secrets?|token|credentials?|api[_.-]?keys?"
    r"|(?:access|account|private|secret|shared)[_.-]?keys?|client[_.-]?secret|shared[_.-]?access"
    r"[_.-]?key|sas|sig|signature|auth|authorization|bearer|jaas"
)
_WITHIN = r"password|passwd|secret|token(?!s)|credential|apikey|accountkey|accesskey"
# A setting or a part of a URL whose value nobody is to read.
SECRET_KEY = re.compile(rf"(?<![A-Za-z])(?:{_WORD})(?![A-Za-z])|{_WITHIN}", re.IGNORECASE)
_VALUE = r"\"(?:[^\"\\]|\\.)*\"|'(?:[^'\\]|\\.)*'|[^\s,;&'\"<>(){}\[\]|]+"
# Bounded, so that no text takes long.
_KEY = re.compile(
    r"(?<![\w.\-\[\]])(?P<key>[\w.\-\[\]]{1,200})(?:['\"]?\s{0,9}(?:=>|->|=|:)\s{0,9}|%3[Dd])"
)
_ITS_VALUE = re.compile(rf"(?!must be )(?:Bearer |Basic )?(?:{_VALUE})")
_USER = re.compile(
    r"(?<![A-Za-z0-9+.\-])(?P<scheme>[A-Za-z][A-Za-z0-9+.\-]{0,40}://)"
    r"[^\s/?#'\"<>;]{1,2000}@(?=[^\s/?#'\"<>;])"
)
_HADOOP = (
    "abfs",
    "abfss",
    "wasb",
    "wasbs",
    "gs",
    "s3",
    "s3a",
    "s3n",
)  # container@account is no user
_ORACLE = re.compile(
    r"(?P<scheme>jdbc:oracle:\w{1,20}:)[^\s/@'\"]{1,200}/[^\s@'\"]{1,200}@", re.IGNORECASE
)
_JDBC = re.compile(r"(?P<scheme>\bjdbc:[\w:]{1,40}:/{1,2})[^\s/@'\"]{1,200}@", re.IGNORECASE)
_OPENED = re.compile(r"\b(?P<kind>Bearer|Basic)\s+[A-Za-z0-9+/=._~\-]{8,}")
_KEYS = re.compile(
    r"\beyJ[A-Za-z0-9_\-]{8,4000}\.[A-Za-z0-9_\-]{1,9000}(?:\.[A-Za-z0-9_\-]+)?"  # a JSON web token
    r"|\b(?:AKIA|ASIA)[A-Z0-9]{16}\b"
    r"|\bgh[pousr]_[A-Za-z0-9]{20,}|\bxox[abprs]-[A-Za-z0-9\-]{10,}|\bdapi[0-9a-f]{32}\b"
    r"|-----BEGIN [A-Z ]*PRIVATE KEY-----.*?(?:-----END [A-Z ]*PRIVATE KEY-----|\Z)",
    re.DOTALL,
)
_QUICK = re.compile(
    rf"://|jdbc:|{_WORD}|{_WITHIN}|eyJ|AKIA|ASIA|gh[pousr]_|xox|dapi|PRIVATE KEY", re.IGNORECASE
)
# Characters that command a terminal, hide text or turn its direction.
_CONTROL = re.compile(
    "\x1b\\[[0-?]*[ -/]*[@-~]|\x1b[\\]PX^_][^\x07\x1b]*(?:\x07|\x1b\\\\)?|\x1b[ -/]*[0-~]?"
    "|\x9b[0-?]*[ -/]*[@-~]|[\x00-\x08\x0b-\x1f\x7f-\x9f\u200e\u200f\u2028-\u202e]"
    "|[\u2066-\u2069\ufeff]|[\ud800-\udfff]"
)


def redacted(text: str) -> str:
    """Return a text without the secrets that it shows, by their keys and places in URLs.

    Examples
    --------
    >>> redacted("jdbc:postgresql://ann:hunter2@db/x?user=ann&password=hunter2&ssl=true")
    'jdbc:postgresql://***@db/x?user=ann&password=***&ssl=true'
    >>> redacted("{'spark.hadoop.fs.s3a.secret.key': 'abc', 'n': '1'}")
    "{'spark.hadoop.fs.s3a.secret.key': ***, 'n': '1'}"
    """
    if not _QUICK.search(text):
        return text
    text = _KEYS.sub(HIDDEN, text)
    text = _ORACLE.sub(rf"\g<scheme>{HIDDEN}@", text)
    text = _JDBC.sub(rf"\g<scheme>{HIDDEN}@", text)
    text = _USER.sub(_without_user, text)
    text = "".join(_without_values(text))
    return _OPENED.sub(rf"\g<kind> {HIDDEN}", text)


def _without_user(match: re.Match[str]) -> str:
    scheme, user = match["scheme"], match[0][len(match["scheme"]) : -1]
    if scheme[:-3].lower() in _HADOOP and ":" not in user:
        return match[0]
    return f"{scheme}{HIDDEN}@"


def _without_values(text: str) -> Iterator[str]:
    at = 0
    while (match := _KEY.search(text, at)) is not None:
        yield text[at : match.end()]
        at = match.end()
        value = _ITS_VALUE.match(text, at) if SECRET_KEY.search(match["key"]) else None
        if value:
            yield HIDDEN
            at = value.end()
    yield text[at:]


def without_secrets(value: Any) -> Any:
    """Return facts whose texts show no secrets, in lists and dicts of any depth.

    What a text is called hides nothing: a slice may be called ``token``.

    Examples
    --------
    >>> without_secrets({"url": "https://u:p@h/", "slices": {"token": "a1b2"}, "n": [1, None]})
    {'url': 'https://***@h/', 'slices': {'token': 'a1b2'}, 'n': [1, None]}
    """
    if isinstance(value, Mapping):
        return {k: without_secrets(v) for k, v in value.items()}
    if isinstance(value, list | tuple):
        return [without_secrets(one) for one in value]
    return redacted(value) if isinstance(value, str) else value


def plain_text(text: str) -> str:
    r"""Return a text without characters that command a terminal; lines and tabs stay.

    Examples
    --------
    >>> plain_text("\x1b[31mred\x1b[0m\x07, one\ntwo")
    'red, one\ntwo'
    """
    return text if text.isprintable() else _CONTROL.sub("", text)


def readable(text: str) -> str:
    r"""Return a text as people may read it anywhere: no secrets, no commands.

    Examples
    --------
    >>> readable("\x1b]0;title\x07token=abc")
    'token=***'
    """
    return redacted(plain_text(text))


def terminal(stream: TextIO) -> TextIO:
    """Return the stream below a :class:`Readable`, for bars, which command the terminal."""
    return stream.below if isinstance(stream, Readable) else stream


class Readable:
    """A stream to people: what is written to it is made readable first.

    Attributes
    ----------
    below
        The stream that it writes to.
    """

    def __init__(self, stream: TextIO) -> None:
        self.below = stream

    def write(self, text: str) -> int:
        """Write a text; what the stream's coding lacks is written as escapes."""
        shown = readable(text)
        try:
            self.below.write(shown)
        except UnicodeEncodeError as error:
            self.below.write(
                shown.encode(error.encoding, "backslashreplace").decode(error.encoding)
            )
        return len(text)

    def __getattr__(self, name: str) -> Any:
        return getattr(self.below, name)
