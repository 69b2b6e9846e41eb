"""``@parameterPack``: several parameters in one object."""

from __future__ import annotations

import typing
from dataclasses import dataclass
from typing import Any

from host.parameternode.codecs import Codec, codec_for, split_annotations
from host.parameternode.validators import Default, IsInstance, NotNone, extractDefault


@dataclass(frozen=True)
class Parameter:
    """One parameter of a pack or of a parameter node."""

    basename: str
    hint: Any
    codec: Codec
    default: Default


def declared(cls: type) -> dict[str, Parameter]:
    """The annotated names of a class, in order, with codec and default."""
    parameters = {}
    for name, hint in typing.get_type_hints(cls, include_extras=True).items():
        type_, annotations = split_annotations(hint)
        default, annotations = extractDefault(annotations)
        try:
            codec, _unused = codec_for(type_, annotations)
        except Exception as error:
            raise TypeError(f"Unable to create serializer for {cls} member {name}") from error
        if hasattr(cls, name):
            default = Default(getattr(cls, name))
        parameters[name] = Parameter(name, hint, codec, default or Default(generator=codec.default))
    return parameters


def isParameterPack(obj: Any) -> bool:
    """Whether a class or object was made by `parameterPack`."""
    return getattr(obj, "_is_parameterPack", False)


def nestedParameterNames(parameterPackClassOrInstance: Any) -> list[str]:
    """Dotted names of all parameters of a pack and of the packs in it."""
    names = []
    for name, parameter in split_annotations(parameterPackClassOrInstance)[0].allParameters.items():
        inner = split_annotations(parameter.hint)[0]
        names += [f"{name}.{sub}" for sub in nestedParameterNames(inner)] if isParameterPack(inner) else [name]
    return names


def parameterPack(classtype: Any = None) -> Any:
    """Class decorator: the annotated names become typed, validated attributes."""
    return _pack_class if classtype is None else _pack_class(classtype)


def _pack_class(cls: Any) -> Any:
    parameters = declared(cls)
    if not parameters:
        raise ValueError("Unable to find any members in parameterPack")
    for name, parameter in parameters.items():
        parameter.codec.validate(parameter.default.value)
        setattr(cls, name, _member(parameter))
    cls.allParameters = parameters
    cls._is_parameterPack = True
    cls.__init__, cls.__eq__, cls.__repr__, cls.__hash__ = _init, _eq, _repr, None
    cls.getValue, cls.setValue = _get_value, _set_value
    cls.dataType = staticmethod(lambda membername: data_type(parameters, membername))
    return cls


def data_type(parameters: dict[str, Parameter], name: str) -> Any:
    """The annotated type of a parameter by its dotted name. Raises ValueError when there is none."""
    top, _, rest = name.partition(".")
    if top not in parameters:
        raise ValueError(f"Cannot find a param with the given name: {top}; there are {', '.join(parameters)}")
    if not rest:
        return parameters[top].hint
    return data_type(split_annotations(parameters[top].hint)[0].allParameters, rest)


def _member(parameter: Parameter) -> property:
    name = parameter.basename

    def read(self: Any) -> Any:
        if self._bound is None:
            return self._values[name]
        node, own_name = self._bound
        return parameter.codec.read(node, f"{own_name}.{name}")

    def write(self: Any, value: Any) -> None:
        parameter.codec.validate(value)
        if self._bound is None:
            self._values[name] = value
        else:
            node, own_name = self._bound
            parameter.codec.write(node, f"{own_name}.{name}", value)

    return property(read, write)


def _init(self: Any, *args: Any, **kwargs: Any) -> None:
    self._bound, self._values = None, {}
    given = dict(zip(self.allParameters, args, strict=False))
    for name, value in kwargs.items():
        if name not in self.allParameters or name in given:
            raise TypeError(f"__init__() got an unexpected or repeated argument '{name}'")
        given[name] = value
    for name, parameter in self.allParameters.items():
        setattr(self, name, given.get(name, parameter.default.value))


def _eq(self: Any, other: object) -> bool:
    return type(self) is type(other) and all(getattr(self, n) == getattr(other, n) for n in self.allParameters)


def _repr(self: Any) -> str:
    return f"{type(self).__name__}({', '.join(f'{n}={getattr(self, n)!r}' for n in self.allParameters)})"


def _get_value(self: Any, membername: str) -> Any:
    for part in membername.split("."):
        self = getattr(self, part)
    return self


def _set_value(self: Any, membername: str, value: Any) -> None:
    owner, _, last = membername.rpartition(".")
    setattr(_get_value(self, owner) if owner else self, last, value)


class PackCodec(Codec):
    """A pack: each parameter under ``name.parameter``. What is read writes itself to the node when it changes."""

    def __init__(self, pack: Any) -> None:
        super().__init__([NotNone(), IsInstance(pack)])
        self._pack = pack

    def default(self) -> Any:
        """See `Codec`."""
        return self._pack()

    def is_in(self, node: Any, name: str) -> bool:
        """See `Codec`."""
        first = next(iter(self._pack.allParameters.values()))
        return first.codec.is_in(node, f"{name}.{first.basename}")

    def _write(self, node: Any, name: str, value: Any) -> None:
        for member, parameter in self._pack.allParameters.items():
            parameter.codec.write(node, f"{name}.{member}", getattr(value, member))

    def read(self, node: Any, name: str) -> Any:
        """See `Codec`."""
        pack = self._pack()
        pack._bound = (node, name)
        return pack

    def remove(self, node: Any, name: str) -> None:
        """See `Codec`."""
        for member, parameter in self._pack.allParameters.items():
            parameter.codec.remove(node, f"{name}.{member}")
