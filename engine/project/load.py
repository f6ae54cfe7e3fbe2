"""The project file: YAML and overrides, checked; one sentence for whatever is wrong with them."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import yaml
from pydantic import BaseModel, ValidationError

from engine.errors import ConfigError, near
from engine.project.settings import Project
from engine.redaction import HIDDEN, SECRET_KEY

# What pydantic calls wrong, in our words.
_WRONG = {
    "string_type": "must be text",
    "list_type": "must be a list",
    "tuple_type": "must be a list",
    "dict_type": "must be a group of settings",
    "model_type": "must be a group of settings",
    "model_attributes_type": "must be a group of settings",
    "int_type": "must be a whole number",
    "int_parsing": "must be a whole number",
    "int_from_float": "must be a whole number",
    "float_type": "must be a number",
    "float_parsing": "must be a number",
    "date_type": "must be a date, such as 2024-05-31",
    "date_parsing": "must be a date, such as 2024-05-31",
    "date_from_datetime_parsing": "must be a date, such as 2024-05-31",
    "finite_number": "must be a finite number",
    "literal_error": "must be {expected}",
    "greater_than": "must be greater than {gt:g}",
    "greater_than_equal": "must be at least {ge:g}",
    "less_than_equal": "must be at most {le:g}",
    "too_short": "must have {min_length} or more entries",
    "too_long": "must have {max_length} entries",
}


def load_project(path: str | Path, overrides: Sequence[str] = ()) -> Project:
    """Read and check a project file.

    Parameters
    ----------
    path
        The YAML file.
    overrides
        ``key=value`` texts, dots between levels (``classifier.n_epochs=5``), values in YAML.

    Raises
    ------
    ConfigError
        If the file can't be read, isn't YAML, has an unknown key or a wrong value.
    """
    settings = _read_yaml(Path(path))
    for text in overrides:
        _override(settings, text)
    try:
        return Project.model_validate(settings)
    except ValidationError as error:
        raise ConfigError(str(path), _problem(error)) from None


def _read_yaml(path: Path) -> dict[str, Any]:
    try:
        settings = _value(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise ConfigError(str(path), f"it can't be read: {error.strerror}") from None
    except RecursionError:
        raise ConfigError(str(path), "it has too many levels") from None
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        place = f"line {mark.line + 1}, column {mark.column + 1}: " if mark else ""
        raise ConfigError(str(path), f"it is not YAML: {place}{error.problem}") from None
    except _NO_VALUES as error:
        raise ConfigError(str(path), f"it is not YAML: {' '.join(str(error).split())}") from None
    if not isinstance(settings, dict):
        raise ConfigError(str(path), "it must be a mapping of settings")
    return settings


# What PyYAML raises of texts that aren't YAML, or have values that aren't what their tags say.
_NO_VALUES = (yaml.YAMLError, ValueError, AttributeError, TypeError, KeyError, OverflowError)
_MOST = 1_000_000  # values, once what aliases stand for is written out


def _value(text: str) -> Any:
    """Return what a YAML text says; nothing in it is code, and no short one is huge."""
    loader = _Loader(text)
    try:
        node = loader.get_single_node()
        if node is not None and _size(node, {}) > _MOST:
            raise ValueError(f"it has more than {_MOST:,} values, with what its aliases stand for")
        return None if node is None else loader.construct_document(node)
    finally:
        loader.dispose()


def _size(node: yaml.Node, sizes: dict[int, int]) -> int:
    """Count values below a node, each as often as aliases name it."""
    if id(node) not in sizes:
        sizes[id(node)] = _MOST + 1  # of one that has itself in it
        parts = node.value if isinstance(node, yaml.CollectionNode) else ()
        below = (one for part in parts for one in (part if isinstance(part, tuple) else (part,)))
        sizes[id(node)] = min(1 + sum(_size(one, sizes) for one in below), _MOST + 1)
    return sizes[id(node)]


class _Loader(yaml.SafeLoader):
    """YAML without tags that run code, in which a key stands once in its group."""

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Any, Any]:
        keys: set[str] = set()
        for key in (k for k, _ in node.value if isinstance(k, yaml.ScalarNode)):
            if key.value in keys:
                raise yaml.constructor.ConstructorError(
                    None, None, f"the key {key.value!r} is there twice", key.start_mark
                )
            keys.add(key.value)
        return super().construct_mapping(node, deep)


def _override(settings: dict[str, Any], text: str) -> None:
    dotted, equals, value = text.partition("=")
    if not equals:
        raise ConfigError(text, "an override is written key=value")
    *parents, last = dotted.split(".")
    level: Any = settings
    for parent in parents:
        level = level.setdefault(parent, {})
        if not isinstance(level, dict):
            raise ConfigError(text, f"{parent!r} is not a group of settings")
    try:
        level[last] = _value(value)
    except RecursionError:
        raise ConfigError(text[:60], "the value has too many levels") from None
    except _NO_VALUES:
        level[last] = value


def _problem(error: ValidationError) -> str:
    """Say the first problem in one sentence, with the nearest known key for an unknown one."""
    # An unknown key first: it may be a missing one, misspelt.
    first = min(error.errors(), key=lambda e: e["type"] != "extra_forbidden")
    *parents, last = first["loc"] or ("",)
    place = ".".join(map(str, first["loc"]))
    if first["type"] == "extra_forbidden":
        return f"unknown key {place!r}{near(str(last), _fields(parents))}"
    if first["type"] == "missing" and isinstance(last, int):
        return f"{place.removesuffix(f'.{last}')}: an entry is missing, found {first['input']!r}"
    if first["type"] == "missing":
        return f"the key {place!r} is missing"
    if first["type"] == "value_error":  # our own sentence, which says what was found
        return ": ".join(filter(None, [place, str(first["ctx"]["error"])]))
    wrong = _WRONG.get(first["type"], first["msg"]).format(**first.get("ctx", {}))
    secret = any(SECRET_KEY.search(str(part)) for part in first["loc"])
    value = f", found {HIDDEN if secret else repr(first['input'])}"
    value = "" if isinstance(first["input"], Mapping) else value
    return f"{place}: {wrong}{value}{_near_word(first)}"


def _near_word(error: Mapping[str, Any]) -> str:
    """Ask for the nearest of the words that a setting takes, if one is near."""
    if error["type"] != "literal_error":
        return ""
    end = near(str(error["input"]), re.findall("'([^']*)'", error["ctx"]["expected"]))
    return end if "did you mean" in end else ""


def _fields(parents: Sequence[int | str]) -> list[str]:
    """Return the known keys of a group of settings."""
    model: Any = Project
    for parent in parents:
        if parent in model.model_fields:  # else it is a position in a list, or a name of the user's
            model = _model_in(model.model_fields[parent].annotation) or model
    return list(model.model_fields)


def _model_in(annotation: Any) -> Any:
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return annotation
    inner = [_model_in(a) for a in getattr(annotation, "__args__", ())]
    return next((m for m in inner if m is not None), None)
