"""Functions that change nothing and whose answer their arguments decide: lifting calls no other.

Each is known by the place that has it. Python's own runs, value by value.
"""

from __future__ import annotations

import functools
import importlib
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from types import BuiltinFunctionType, FunctionType
from typing import Any

# Module -> what of it is known; behind a colon is what a function returns, where that is gone
# through. None of them makes much of a large number: an operand is computed on every row, on those
# too that Python never gets to.
_KNOWN: Mapping[str, str] = {
    "builtins": "ascii bin chr complex dict divmod format hex int list:list max min oct repr round"
                " sorted:list str str.maketrans sum tuple:list",
    "math": "acos asin atan atan2 ceil copysign cos cosh degrees dist erf exp expm1 fabs floor fmod"
            " frexp fsum gcd hypot isclose isqrt lcm log log10 log1p log2 modf pow prod radians"
            " remainder sin sinh sqrt tan tanh trunc",
    "operator": "add sub mul truediv floordiv mod neg not_ truth lt le gt ge eq ne contains"
                " getitem and_ or_ xor",
    "statistics": "fmean geometric_mean harmonic_mean mean median median_high median_low mode"
                  " multimode:list pstdev pvariance quantiles:list stdev variance",
    "decimal": "Decimal",
    "fractions": "Fraction",
    "datetime": "date datetime time timedelta date.fromisoformat date.fromordinal"
                " date.fromisocalendar datetime.combine datetime.fromisoformat datetime.strptime"
                " time.fromisoformat timezone",
    "calendar": "isleap monthrange weekday timegm",
    "zoneinfo": "ZoneInfo",
    "string": "capwords",
    "textwrap": "shorten dedent",
    "unicodedata": "bidirectional category combining decimal decomposition digit east_asian_width"
                   " is_normalized mirrored name normalize numeric",
    "html": "escape unescape",
    "json": "dumps loads",
    "base64": "b16decode b32decode b64decode b64encode urlsafe_b64decode urlsafe_b64encode",
    "binascii": "crc32 hexlify unhexlify a2b_base64 b2a_hex a2b_hex",
    "zlib": "adler32 crc32",
    "hashlib": "md5 sha1 sha224 sha256 sha384 sha512 blake2b",
    "fnmatch": "fnmatch fnmatchcase",
    "difflib": "get_close_matches:list",
    "ipaddress": "ip_address ip_network ip_interface IPv4Address IPv6Address",
    "urllib.parse": "parse_qs parse_qsl:list quote quote_plus unquote unquote_plus urldefrag"
                    " urljoin urlparse urlsplit urlencode",
    "posixpath": "basename dirname splitext join normpath",
    "ntpath": "basename dirname splitext",
    "keyword": "iskeyword",
    "uuid": "UUID",
    "shlex": "split:list quote",
    "email.utils": "parseaddr",
    "colorsys": "rgb_to_hsv rgb_to_hls",
    "copy": "copy deepcopy",
    "numpy": "abs absolute all any arccos arcsin arctan arctan2 argmax argmin array asarray average"
             " ceil clip corrcoef cos cumsum degrees diff divide dot exp expm1 fabs floor fmax fmin"
             " fmod hypot isclose isfinite isinf isnan log log10 log1p log2 max maximum mean"
             " median min minimum nanmax nanmean nanmin nanstd nansum percentile power prod"
             " quantile radians rint round sign signbit sin sqrt square std subtract sum tan tanh"
             " trunc unique var float64 int64 nanmedian ptp count_nonzero",
    "pandas": "isna isnull notna notnull",
    "re": "escape",
}  # fmt: skip
_RETURNS: Mapping[str, type] = {"list": list}


@dataclass(frozen=True, repr=False)
class Function:
    """A function by the place that has it, which is what another process looks it up by.

    Attributes
    ----------
    module, name
        The place.
    keywords
        What its last arguments are called.
    returns
        The type of its values, where that is known.

    Examples
    --------
    >>> Function("math", "isclose", ("rel_tol",)).run(1.0, 1.05, 0.1)
    True
    """

    module: str
    name: str
    keywords: tuple[str, ...] = ()
    returns: type | None = None

    @property
    def key(self) -> str:
        """What tells it from other constants."""
        return f"function:{self.module}.{self.name}({','.join(self.keywords)})"

    @property
    def run(self) -> Callable[..., Any]:
        """What it calls, with all arguments in a row."""
        value: Any = importlib.import_module(self.module)
        for part in self.name.split("."):
            value = getattr(value, part)
        return with_keywords(value, self.keywords)

    def __repr__(self) -> str:
        return f"{self.module}.{self.name}".removeprefix("builtins.")


def with_keywords(f: Callable[..., Any], keywords: tuple[str, ...]) -> Callable[..., Any]:
    """Return a function that takes its last arguments by position.

    Examples
    --------
    >>> with_keywords(int, ("base",))("ff", 16)
    255
    """
    if not keywords:
        return f
    n = len(keywords)

    def run(*args: Any) -> Any:
        return f(*args[:-n], **dict(zip(keywords, args[-n:], strict=True)))

    return run


def known_function(f: Any) -> Function | None:
    """Return what a function is known as, or None where it isn't known to change nothing.

    Examples
    --------
    >>> import math
    >>> known_function(math.copysign), known_function(print)
    (math.copysign, None)
    """
    if type(f) not in _KINDS and not _is_of_library(f):
        return None  # hashing it may run code of the user's
    return _functions(tuple(m for m in _KNOWN if m in sys.modules)).get(f)


_KINDS = (FunctionType, BuiltinFunctionType, type, functools._lru_cache_wrapper)


def _is_of_library(f: Any) -> bool:
    hashed: Any = type(f).__hash__
    return type(f).__module__ in ("numpy", "abc") and hashed in (object.__hash__, type.__hash__)


@functools.lru_cache(maxsize=8)
def _functions(modules: tuple[str, ...]) -> Mapping[Any, Function]:
    known: dict[Any, Function] = {}
    for module in modules:
        for entry in _KNOWN[module].split():
            name, _, returns = entry.partition(":")
            value: Any = sys.modules[module]
            for part in name.split("."):
                value = getattr(value, part, None)
            if value is not None:
                known.setdefault(value, Function(module, name, (), _RETURNS.get(returns)))
    return known
