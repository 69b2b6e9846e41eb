"""How a value of each type lies in a parameter node: Slicer's names and texts.

===========================  ==========================================================================================
``bool, int, float, str``    parameter ``name``, as text; ``True`` and ``False`` for bool
``enum.Enum``                parameter ``name``, the member's name
``pathlib.Path``             parameter ``name``
a MRML node                  node reference of role ``name``, and an empty parameter ``name`` that says it was set
``list[T]``                  ``name_len`` and ``name_0``, ``name_1``, …
``tuple[T, …]``              ``name_0``, ``name_1``, …
``dict[K, V]``               a list of pairs
``Optional[T], Union[…]``    ``name_<index of the type>``; for None the parameter of NoneType, ``True``
===========================  ==========================================================================================
"""

from __future__ import annotations

import collections.abc
import enum
import pathlib
import types
import typing
from collections.abc import Callable
from typing import Any

import slicer

from host.parameternode.validators import IsInstance, IsNone, NotNone, Validator, extractValidators


class Codec:
    """Reads and writes values of one type. ``node`` is the parameter node, ``name`` the parameter's name."""

    validators: list[Validator]

    def __init__(self, validators: list[Validator]) -> None:
        self.validators = validators

    def validate(self, value: Any) -> None:
        """Raise ValueError or TypeError for a value that the parameter may not have."""
        for validator in self.validators:
            validator.validate(value)

    def default(self) -> Any:
        """The value of a parameter that says no other."""
        raise NotImplementedError

    def is_in(self, node: Any, name: str) -> bool:
        """Whether the node has the parameter."""
        return bool(node.HasParameter(name))

    def write(self, node: Any, name: str, value: Any) -> None:
        """Validate and write."""
        self.validate(value)
        with slicer.util.NodeModify(node):
            self._write(node, name, value)

    def _write(self, node: Any, name: str, value: Any) -> None:
        raise NotImplementedError

    def read(self, node: Any, name: str) -> Any:
        """The value."""
        raise NotImplementedError

    def remove(self, node: Any, name: str) -> None:
        """Take the parameter out of the node."""
        node.UnsetParameter(name)


class TextCodec(Codec):
    """A value that is one parameter, as text."""

    def __init__(
        self, validators: list[Validator], default: Any, encode: Callable[[Any], str], decode: Callable[[str], Any]
    ) -> None:
        super().__init__(validators)
        self._default, self._encode, self._decode = default, encode, decode

    def default(self) -> Any:
        """See `Codec`."""
        return self._default

    def _write(self, node: Any, name: str, value: Any) -> None:
        node.SetParameter(name, self._encode(value))

    def read(self, node: Any, name: str) -> Any:
        """See `Codec`."""
        return self._decode(node.GetParameter(name))


class NodeCodec(Codec):
    """A node of the scene, or None."""

    def default(self) -> None:
        """See `Codec`."""

    def _write(self, node: Any, name: str, value: Any) -> None:
        node.SetParameter(name, "")
        node.SetNodeReferenceID(name, value.GetID() if value is not None else None)

    def read(self, node: Any, name: str) -> Any:
        """See `Codec`."""
        return node.GetNodeReference(name)

    def remove(self, node: Any, name: str) -> None:
        """See `Codec`."""
        node.UnsetParameter(name)
        node.RemoveNodeReferenceIDs(name)


class TupleCodec(Codec):
    """Some values of fixed types."""

    def __init__(self, items: list[Codec]) -> None:
        super().__init__([NotNone()])
        self._items = items

    def default(self) -> tuple[Any, ...]:
        """See `Codec`."""
        return tuple(item.default() for item in self._items)

    def is_in(self, node: Any, name: str) -> bool:
        """See `Codec`."""
        return self._items[0].is_in(node, f"{name}_0")

    def _write(self, node: Any, name: str, value: Any) -> None:
        if len(value) != len(self._items):
            raise ValueError("Unexpected number of tuple values")
        for index, (item, part) in enumerate(zip(self._items, value, strict=True)):
            item.write(node, f"{name}_{index}", part)

    def read(self, node: Any, name: str) -> tuple[Any, ...]:
        """See `Codec`."""
        return tuple(item.read(node, f"{name}_{index}") for index, item in enumerate(self._items))

    def remove(self, node: Any, name: str) -> None:
        """See `Codec`."""
        for index, item in enumerate(self._items):
            item.remove(node, f"{name}_{index}")


class ObservedList(collections.abc.MutableSequence):
    """A list that writes itself to the parameter node when it changes."""

    def __init__(self, codec: ListCodec, node: Any, name: str, items: list[Any]) -> None:
        self._codec, self._node, self._name, self._items = codec, node, name, items

    def _save(self) -> None:
        try:
            self._codec.write(self._node, self._name, self._items)
        finally:
            self._items = self._codec.read(self._node, self._name)._items

    def __len__(self) -> int:
        return len(self._items)

    def __getitem__(self, index: Any) -> Any:
        return self._items[index]

    def __setitem__(self, index: Any, value: Any) -> None:
        self._items[index] = value
        self._save()

    def __delitem__(self, index: Any) -> None:
        del self._items[index]
        self._save()

    def insert(self, index: int, value: Any) -> None:
        """Insert and save."""
        self._items.insert(index, value)
        self._save()

    def __eq__(self, other: object) -> bool:
        return self._items == (other._items if isinstance(other, ObservedList) else other)

    __hash__ = None  # type: ignore[assignment]

    def __repr__(self) -> str:
        return f"ObservedList({self._items})"


class ListCodec(Codec):
    """Any number of values of one type."""

    def __init__(self, item: Codec) -> None:
        super().__init__([NotNone()])
        self._item = item

    def default(self) -> list[Any]:
        """See `Codec`."""
        return []

    def is_in(self, node: Any, name: str) -> bool:
        """See `Codec`."""
        return bool(node.HasParameter(f"{name}_len"))

    def _length(self, node: Any, name: str) -> int:
        return int(node.GetParameter(f"{name}_len")) if self.is_in(node, name) else 0

    def _write(self, node: Any, name: str, value: Any) -> None:
        value = list(value)
        for item in value:  # all or nothing
            self._item.validate(item)
        old_length = self._length(node, name)
        for index, item in enumerate(value):
            self._item.write(node, f"{name}_{index}", item)
        node.SetParameter(f"{name}_len", str(len(value)))
        for index in range(len(value), old_length):
            self._item.remove(node, f"{name}_{index}")

    def _items_of(self, node: Any, name: str) -> list[Any]:
        return [self._item.read(node, f"{name}_{index}") for index in range(self._length(node, name))]

    def read(self, node: Any, name: str) -> Any:
        """See `Codec`."""
        return ObservedList(self, node, name, self._items_of(node, name))

    def remove(self, node: Any, name: str) -> None:
        """See `Codec`."""
        for index in range(self._length(node, name)):
            self._item.remove(node, f"{name}_{index}")
        node.UnsetParameter(f"{name}_len")


class ObservedDict(collections.abc.MutableMapping):
    """A dict that writes itself to the parameter node when it changes."""

    def __init__(self, codec: DictCodec, node: Any, name: str, items: dict[Any, Any]) -> None:
        self._codec, self._node, self._name, self._items = codec, node, name, items

    def __len__(self) -> int:
        return len(self._items)

    def __iter__(self) -> Any:
        return iter(self._items)

    def __getitem__(self, key: Any) -> Any:
        return self._items[key]

    def _save(self, items: dict[Any, Any]) -> None:
        self._codec.write(self._node, self._name, items)
        self._items = items

    def __setitem__(self, key: Any, value: Any) -> None:
        self._save({**self._items, key: value})

    def __delitem__(self, key: Any) -> None:
        self._save({k: v for k, v in self._items.items() if k != key})

    def __repr__(self) -> str:
        return f"ObservedDict({self._items})"


class DictCodec(ListCodec):
    """Values by key, in order."""

    def default(self) -> Any:
        """See `Codec`."""
        return {}

    def _write(self, node: Any, name: str, value: Any) -> None:
        super()._write(node, name, value.items())

    def read(self, node: Any, name: str) -> Any:
        """See `Codec`."""
        return ObservedDict(self, node, name, dict(self._items_of(node, name)))


class UnionCodec(Codec):
    """A value of one of some types."""

    def __init__(self, choices: list[tuple[Any, Codec]]) -> None:
        super().__init__([])
        self._choices = choices

    def default(self) -> Any:
        """See `Codec`."""
        optional = len(self._choices) == 2 and self._choices[1][0] is type(None)
        return None if optional else self._choices[0][1].default()

    def is_in(self, node: Any, name: str) -> bool:
        """See `Codec`."""
        return any(codec.is_in(node, f"{name}_{index}") for index, (_, codec) in enumerate(self._choices))

    def _index_for(self, value: Any) -> int:
        refusal: Exception | None = None
        for index, (type_, codec) in enumerate(self._choices):
            if (value is None) != (type_ is type(None)):
                continue
            try:
                codec.validate(value)
            except (TypeError, ValueError) as error:
                refusal = error
            else:
                return index
        raise refusal or TypeError(f"Unable to write value '{value}' of type '{type(value)}'")

    def validate(self, value: Any) -> None:
        """See `Codec`."""
        self._index_for(value)

    def _write(self, node: Any, name: str, value: Any) -> None:
        index = self._index_for(value)
        self.remove(node, name)
        self._choices[index][1].write(node, f"{name}_{index}", value)

    def read(self, node: Any, name: str) -> Any:
        """See `Codec`."""
        for index, (_, codec) in enumerate(self._choices):
            if codec.is_in(node, f"{name}_{index}"):
                return codec.read(node, f"{name}_{index}")
        raise KeyError(f"Unable to find value for name: {name}")

    def remove(self, node: Any, name: str) -> None:
        """See `Codec`."""
        for index, (_, codec) in enumerate(self._choices):
            codec.remove(node, f"{name}_{index}")


def split_annotations(hint: Any) -> tuple[Any, list[Any]]:
    """``Annotated[T, a, b]`` → (T, [a, b]); any other type → (it, [])."""
    if typing.get_origin(hint) is typing.Annotated:
        return typing.get_args(hint)[0], list(hint.__metadata__)
    return hint, []


def codec_for(hint: Any, annotations: list[Any] | None = None) -> tuple[Codec, list[Any]]:
    """The codec of a type, with the validators among the annotations, and the other annotations."""
    type_, own = split_annotations(hint)
    validators, others = extractValidators([*own, *(annotations or [])])
    codec = _codec(type_)
    codec.validators = [*codec.validators, *validators]
    return codec, others


def _codec(type_: Any) -> Codec:
    origin, arguments = typing.get_origin(type_), typing.get_args(type_)
    if origin is list:
        return ListCodec(codec_for(arguments[0])[0])
    if origin is tuple:
        return TupleCodec([codec_for(argument)[0] for argument in arguments])
    if origin is dict:
        return DictCodec(TupleCodec([codec_for(argument)[0] for argument in arguments]))
    if origin is typing.Union:
        return UnionCodec([(split_annotations(argument)[0], codec_for(argument)[0]) for argument in arguments])
    if origin is types.UnionType:
        raise TypeError(f"parameterNodeWrapper does not know {type_}; write typing.Optional or typing.Union")
    if isinstance(type_, type):
        return _plain_codec(type_)
    raise TypeError(f"Unable to create serializer for type: {type_}")


def _plain_codec(type_: type) -> Codec:
    from host.parameternode.pack import PackCodec, isParameterPack

    known = [NotNone(), IsInstance(type_)]
    if type_ is type(None):
        return TextCodec([IsNone()], None, lambda value: "True", lambda text: None)
    if type_ is bool:
        return TextCodec(known, False, lambda value: "True" if value else "False", lambda text: text == "True")
    if type_ is int:
        return TextCodec(known, 0, str, int)
    if type_ is float:
        return TextCodec([NotNone(), IsInstance((int, float))], 0, str, float)
    if type_ is str:
        return TextCodec(known, "", str, str)
    if issubclass(type_, pathlib.PurePath):
        return TextCodec(known, type_(), str, type_)
    if issubclass(type_, enum.Enum):
        return TextCodec([IsInstance(type_)], next(iter(type_)), lambda value: value.name, lambda text: type_[text])
    if issubclass(type_, slicer.vtkMRMLNode):
        return NodeCodec([IsInstance(type_)])
    if isParameterPack(type_):
        return PackCodec(type_)
    raise TypeError(f"Unable to create serializer for type: {type_}")
