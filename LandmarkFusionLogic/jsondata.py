"""Frozen dataclasses to JSON and back, checked against their type hints.

Understood: str, int, float, bool, None, list, tuple, dict with text keys, Optional and nested dataclasses.
"""

from __future__ import annotations

import dataclasses
import types
from typing import Any, TypeVar, Union, get_args, get_origin, get_type_hints

from LandmarkFusionLogic.errors import InputError

T = TypeVar("T")


def to_json(value: Any) -> Any:
    """``value``, a dataclass, list, dict or plain value, as what ``json.dumps`` takes."""
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return {field.name: to_json(getattr(value, field.name)) for field in dataclasses.fields(value)}
    if isinstance(value, (list, tuple)):
        return [to_json(item) for item in value]
    if isinstance(value, dict):
        return {str(key): to_json(item) for key, item in value.items()}
    return value


def from_json(kind: type[T], data: Any) -> T:
    """An instance of the dataclass ``kind`` from parsed JSON.

    Raises InputError for missing or unknown fields and for values of another type.
    """
    return _object(kind, data, kind.__name__)  # type: ignore[no-any-return]


def _object(kind: type, data: Any, where: str) -> Any:
    if not isinstance(data, dict):
        raise InputError(f"{where} must be an object.")
    hints = get_type_hints(kind)
    fields = {field.name: field for field in dataclasses.fields(kind)}
    unknown = sorted(set(data) - set(fields))
    if unknown:
        raise InputError(f"{where} has no field “{unknown[0]}”.")
    for name, field in fields.items():
        optional = field.default is not dataclasses.MISSING or field.default_factory is not dataclasses.MISSING
        if name not in data and not optional:
            raise InputError(f"{where} needs the field “{name}”.")
    return kind(**{name: _value(hints[name], value, f"{where}.{name}") for name, value in data.items()})


def _value(hint: Any, data: Any, where: str) -> Any:
    origin, args = get_origin(hint), get_args(hint)
    if origin in (Union, types.UnionType):
        if data is None and type(None) in args:
            return None
        return _value(next(arg for arg in args if arg is not type(None)), data, where)
    if origin is list and isinstance(data, list):
        return [_value(args[0], item, f"{where}[{index}]") for index, item in enumerate(data)]
    if origin is tuple and isinstance(data, list):
        kinds = [args[0]] * len(data) if args[-1] is Ellipsis else args
        if len(kinds) != len(data):
            raise InputError(f"{where} must have {len(kinds)} values.")
        pairs = enumerate(zip(kinds, data, strict=True))
        return tuple(_value(kind, item, f"{where}[{index}]") for index, (kind, item) in pairs)
    if origin is dict and isinstance(data, dict):
        return {key: _value(args[1], item, f"{where}.{key}") for key, item in data.items()}
    if dataclasses.is_dataclass(hint) and isinstance(hint, type):
        return _object(hint, data, where)
    if hint is Any:
        return data
    if hint is float and isinstance(data, int) and not isinstance(data, bool):
        return float(data)
    if isinstance(hint, type) and type(data) is hint:
        return data
    raise InputError(f"{where} has a value of the wrong type.")
