"""Annotations of a parameter: its default and what values it may have."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any


class Default:
    """The value a parameter has at first; ``generator`` makes it anew each time."""

    def __init__(self, value: Any = None, *, generator: Callable[[], Any] | None = None) -> None:
        self._value = value
        self._generator = generator

    @property
    def value(self) -> Any:
        """The default."""
        return self._generator() if self._generator else self._value


def extractDefault(annotations: Iterable[Any]) -> tuple[Default | None, list[Any]]:
    """The default among some annotations, and the others."""
    defaults = [item for item in annotations if isinstance(item, Default)]
    if len(defaults) > 1:
        raise ValueError("Multiple defaults found")
    return (defaults[0] if defaults else None), [item for item in annotations if not isinstance(item, Default)]


class Validator:
    """Refuses values with an exception."""

    def validate(self, value: Any) -> None:
        """Raise ValueError or TypeError if a parameter may not have the value."""
        raise NotImplementedError


def extractValidators(annotations: Iterable[Any]) -> tuple[list[Validator], list[Any]]:
    """The validators among some annotations, and the others."""
    annotations = list(annotations)
    return (
        [item for item in annotations if isinstance(item, Validator)],
        [item for item in annotations if not isinstance(item, Validator)],
    )


class IsNone(Validator):
    """None and nothing else."""

    def validate(self, value: Any) -> None:
        """See `Validator.validate`."""
        if value is not None:
            raise ValueError("Value must be None")


class NotNone(Validator):
    """Anything but None."""

    def validate(self, value: Any) -> None:
        """See `Validator.validate`."""
        if value is None:
            raise ValueError("Value must not be None")


class IsInstance(Validator):
    """An instance of a class, or None."""

    def __init__(self, classtype: Any) -> None:
        self.classtype = classtype

    def validate(self, value: Any) -> None:
        """See `Validator.validate`."""
        if value is not None and not isinstance(value, self.classtype):
            raise TypeError(f"Value must be of type '{self.classtype}', is type '{type(value)}' value '{value}'")


class WithinRange(Validator):
    """From a minimum to a maximum, both included."""

    def __init__(self, minimum: float, maximum: float) -> None:
        self.minimum = minimum
        self.maximum = maximum

    def validate(self, value: Any) -> None:
        """See `Validator.validate`."""
        if not self.minimum <= value <= self.maximum:
            raise ValueError(f"Value must be within range [{self.minimum}, {self.maximum}], is {value}")


class Minimum(Validator):
    """Not less than a minimum."""

    def __init__(self, minimum: float) -> None:
        self.minimum = minimum

    def validate(self, value: Any) -> None:
        """See `Validator.validate`."""
        if value < self.minimum:
            raise ValueError(f"Value must not be less than {self.minimum}, is {value}")


class Maximum(Validator):
    """Not more than a maximum."""

    def __init__(self, maximum: float) -> None:
        self.maximum = maximum

    def validate(self, value: Any) -> None:
        """See `Validator.validate`."""
        if value > self.maximum:
            raise ValueError(f"Value must not be more than {self.maximum}, is {value}")


class Choice(Validator):
    """One of some values."""

    def __init__(self, choices: Any) -> None:
        self.choices = choices

    def validate(self, value: Any) -> None:
        """See `Validator.validate`."""
        if value not in self.choices:
            raise ValueError(f"Value is {value}, but must be one of {self.choices}")


class Exclude(Validator):
    """None of some values."""

    def __init__(self, excludedValues: Any) -> None:
        self.excludedValues = excludedValues

    def validate(self, value: Any) -> None:
        """See `Validator.validate`."""
        if value in self.excludedValues:
            raise ValueError(f"Value is {value}, which is one of the excluded {self.excludedValues}")


VALIDATORS = (Validator, IsNone, NotNone, IsInstance, WithinRange, Minimum, Maximum, Choice, Exclude)
