"""
Dataclasses as JSON and back, guided by their type hints: nothing is written for any class, and nothing is executed.

    data = encode(Scene, scene)     builtins that json.dumps accepts
    decode(Scene, data) == scene    Malformed where the data do not have the types that the fields demand

A field with its default value is left out.  A tuple that is met again (the captures that several exchanges share) is
written once.  Where a hint is Any, what JSON has no form for is marked (`{"$tuple": [...]}`, `{"$record": "Link"}`).
"""

from __future__ import annotations

import collections
import dataclasses
import functools
import types
from collections.abc import Callable, Mapping, Sequence
from ipaddress import IPv4Address, IPv4Interface, IPv4Network, IPv6Address, IPv6Interface, IPv6Network
from typing import Any, Literal, TypeVar, Union, get_args, get_origin, get_type_hints

from lab import records

ADDRESSES = (IPv4Address, IPv4Interface, IPv4Network, IPv6Address, IPv6Interface, IPv6Network)
PLAIN = (bool, int, float, str, type(None))
RECORDS: Mapping[str, type] = {made.__name__: made for made in records.TYPES.values() if isinstance(made, type)}
"""The only classes that data may name themselves: all others follow from the type hints."""
SHARED, BYTES, TUPLE, RECORD = "$shared", "$bytes", "$tuple", "$record"
LEAST_SHARED = {tuple: 4, bytes: 24}  # what is shorter is as short as the reference to it
LEAST_RUN = 32  # octets
MOST_RUNS = 64 << 20
"""Octets that all runs may have: a small file must not fill the memory."""

Made = TypeVar("Made")


class Malformed(ValueError):
    """Data that do not have the types that they must have."""


@functools.cache
def _hints(made: type) -> Mapping[str, tuple[Any, dataclasses.Field[Any]]]:
    """The type of each field by name, and the field."""
    hints = get_type_hints(made)
    return {field.name: (hints[field.name], field) for field in dataclasses.fields(made)}


def _default(field: dataclasses.Field[Any]) -> Any:
    return field.default_factory() if field.default_factory is not dataclasses.MISSING else field.default


def encode(kind: Any, value: Any) -> dict[str, Any]:
    """A value of a type as builtins, with what is shared beside it."""
    return _Encoder().whole(kind, value)


def decode(kind: Callable[..., Made], data: Any) -> Made:
    """The value of a type that `encode` made data of; Malformed if it did not."""
    if not isinstance(data, dict) or set(data) != {"value", "shared"} or not isinstance(data["shared"], list):
        raise Malformed("expected a value and what its parts share")
    made: Made = _Decoder(data["shared"]).of(kind, data["value"])
    return made


class _Encoder:
    def __init__(self) -> None:
        self._shared: list[Any] = []
        self._numbers: dict[object, int] = {}
        self._met: collections.Counter[object] = collections.Counter()

    def whole(self, kind: Any, value: Any) -> dict[str, Any]:
        self._count(value)
        made = self.of(kind, value)
        return {"value": made, "shared": self._shared}

    def _count(self, value: Any) -> None:
        """Count how often each long tuple, and each long string of octets, is met."""
        if (key := _key(value)) is not None:
            self._met[key] += 1
            if self._met[key] > 1:
                return
        if dataclasses.is_dataclass(value):
            value = [getattr(value, field.name) for field in dataclasses.fields(value)]
        elif isinstance(value, Mapping):
            value = list(value.values())
        for each in value if isinstance(value, (list, tuple)) else ():
            self._count(each)

    def of(self, kind: Any, value: Any) -> Any:
        key = _key(value) if kind is not Any else None
        if key is None or self._met[key] < 2:
            return self._plainly(kind, value)
        if key not in self._numbers:
            made = self._plainly(kind, value)
            self._numbers[key] = len(self._shared)
            self._shared.append(made)
        return {SHARED: self._numbers[key]}

    def _plainly(self, kind: Any, value: Any) -> Any:
        origin, arguments = get_origin(kind), get_args(kind)
        if origin in (Union, types.UnionType):
            kinds = [one for one in arguments if one is not type(None)]
            return None if value is None else self.of(kinds[0] if len(kinds) == 1 else Any, value)
        if kind is Any:
            return self._untyped(value)
        if dataclasses.is_dataclass(kind) and isinstance(kind, type):
            return self._fields(kind, value)
        if isinstance(value, bytes):
            return _hex(value)
        if isinstance(value, ADDRESSES):
            return str(value)
        if isinstance(value, Mapping):
            return {str(key): self.of(arguments[1], each) for key, each in value.items()}
        if isinstance(value, frozenset):
            return sorted(self.of(arguments[0], each) for each in value)
        if isinstance(value, (list, tuple)):
            return [self.of(each, one) for each, one in zip(_each(kind, len(value)), value, strict=True)]
        return value

    def _fields(self, made: type, value: Any) -> dict[str, Any]:
        encoded = {}
        for name, (kind, field) in _hints(made).items():
            each = getattr(value, name)
            if each != _default(field):
                encoded[name] = self.of(kind, each)
        return encoded

    def _untyped(self, value: Any) -> Any:
        if isinstance(value, bytes):
            return {BYTES: _hex(value)}
        if isinstance(value, tuple):
            return {TUPLE: [self.of(Any, each) for each in value]}
        if isinstance(value, list):
            return [self.of(Any, each) for each in value]
        if isinstance(value, Mapping):
            return {str(key): self.of(Any, each) for key, each in value.items()}
        name = type(value).__name__
        if RECORDS.get(name) is type(value):
            return {RECORD: name, **self._fields(type(value), value)}
        if not isinstance(value, PLAIN):
            raise TypeError(f"{value!r} has no form in JSON")
        return value


def _key(value: Any) -> object:
    """What is the same for values that are written once; None for those that are short."""
    if isinstance(value, (tuple, bytes)) and len(value) >= LEAST_SHARED[type(value)]:
        return id(value) if isinstance(value, tuple) else value
    return None


def _hex(value: bytes) -> str:
    """Octets in hexadecimal; a long run of one octet at their end, the filler of a large packet, as `7e*1400`."""
    head = value.rstrip(value[-1:])
    run = len(value) - len(head)
    return f"{head.hex()}+{value[-1:].hex()}*{run}" if run >= LEAST_RUN else value.hex()


def _each(kind: Any, count: int) -> Sequence[Any]:
    """The types of the elements of a sequence."""
    origin, arguments = get_origin(kind), get_args(kind)
    if origin is tuple and arguments[-1] is not Ellipsis:
        return arguments
    return [arguments[0]] * count


class _Decoder:
    def __init__(self, shared: list[Any]) -> None:
        self._shared = shared
        self._made: dict[tuple[int, Any], Any] = {}
        self._open: set[int] = set()
        self._room = MOST_RUNS

    def of(self, kind: Any, data: Any) -> Any:
        return _reader(kind)(self, data)

    def plain(self, kind: Any, data: Any) -> Any:
        return _expected(data, isinstance(data, (int, float) if kind is float else kind), kind)

    def literal(self, kind: Any, data: Any) -> Any:
        return _expected(data, data in get_args(kind), kind)

    def address(self, kind: Any, data: Any) -> Any:
        return _read(kind, data)

    def mapping(self, kind: Any, data: Any) -> Any:
        read = _reader(get_args(kind)[1])
        return {key: read(self, each) for key, each in _expected(data, isinstance(data, dict), kind).items()}

    def sequence(self, kind: Any, data: Any) -> Any:
        if isinstance(data, dict) and data.keys() == {SHARED}:
            return self._reference(kind, data[SHARED])
        elements, origin = _expected(data, isinstance(data, list), kind), get_origin(kind)
        each = _each(kind, len(elements))
        _expected(data, len(each) == len(elements), kind)
        made = [_reader(one)(self, element) for one, element in zip(each, elements, strict=True)]
        return tuple(made) if origin is tuple else frozenset(made) if origin is frozenset else made

    def octets(self, kind: Any, data: Any) -> Any:
        if isinstance(data, dict) and data.keys() == {SHARED}:
            return self._reference(kind, data[SHARED])
        return self._octets(data)

    def untyped(self, kind: Any, data: Any) -> Any:
        return self._untyped(data)

    def fields(self, kind: Any, data: Any) -> Any:
        return self._fields(kind, _expected(data, isinstance(data, dict), kind))

    def _reference(self, kind: Any, number: Any) -> Any:
        """What is shared, made once for each type; what contains itself has no end."""
        known = isinstance(number, int) and 0 <= number < len(self._shared)
        _expected(number, known and number not in self._open, "a shared part")
        key = (number, kind)
        if key not in self._made:
            self._open.add(number)
            self._made[key] = self.of(kind, self._shared[number])
            self._open.remove(number)
        return self._made[key]

    def _octets(self, data: Any) -> bytes:
        """What `_hex` wrote."""
        head, _, run = str(_expected(data, isinstance(data, str), bytes)).partition("+")
        octet, _, count = run.partition("*")
        fits = not run or (len(octet) == 2 and count.isascii() and count.isdecimal() and int(count) <= self._room)
        self._room -= int(_expected(count, fits, "a run of an octet") or 0)
        return bytes(_read(bytes.fromhex, head) + _read(bytes.fromhex, octet) * int(count or 0))

    def _fields(self, made: type, data: dict[str, Any]) -> Any:
        readers, required = _readers(made)
        unknown = [name for name in data if name not in readers]
        _expected(unknown[0] if unknown else "", not unknown, f"a field of {made.__name__}")
        for name in required:
            _expected(made.__name__, name in data, f"its {name}")
        return made(**{name: readers[name](self, each) for name, each in data.items()})

    def _untyped(self, data: Any) -> Any:
        if isinstance(data, list):
            return [self.of(Any, each) for each in data]
        if not isinstance(data, dict):
            return _expected(data, isinstance(data, PLAIN), Any)
        if RECORD in data:
            made = RECORDS.get(str(data[RECORD]))
            _expected(data[RECORD], made is not None, "a record")
            return self._fields(made, {name: each for name, each in data.items() if name != RECORD})  # type: ignore[arg-type]
        if data.keys() == {BYTES}:
            return self._octets(data[BYTES])
        if data.keys() == {TUPLE}:
            return tuple(self._untyped(_expected(data[TUPLE], isinstance(data[TUPLE], list), tuple)))
        return {key: self.of(Any, each) for key, each in data.items()}


Reader = Callable[[_Decoder, Any], Any]


@functools.cache
def _reader(kind: Any) -> Reader:
    """What decodes a type: looked up once, since there are thousands of values of each."""
    origin, arguments = get_origin(kind), get_args(kind)
    if origin in (Union, types.UnionType):
        kinds = [one for one in arguments if one is not type(None)]
        read = _reader(kinds[0] if len(kinds) == 1 else Any)
        return lambda decoder, data: None if data is None else read(decoder, data)
    made: Callable[[_Decoder, Any, Any], Any]
    if kind is Any:
        made = _Decoder.untyped
    elif kind is bytes:
        made = _Decoder.octets
    elif origin is Literal:
        made = _Decoder.literal
    elif kind in ADDRESSES:
        made = _Decoder.address
    elif kind in PLAIN:
        made = _Decoder.plain
    elif dataclasses.is_dataclass(kind):
        made = _Decoder.fields
    else:
        made = _Decoder.mapping if isinstance(origin, type) and issubclass(origin, Mapping) else _Decoder.sequence
    return lambda decoder, data: made(decoder, kind, data)


@functools.cache
def _readers(made: type) -> tuple[Mapping[str, Reader], Sequence[str]]:
    """What decodes each field of a class, and those that have no default."""
    hints = _hints(made)
    required = [name for name, (_, field) in hints.items() if _default(field) is dataclasses.MISSING]
    return {name: _reader(kind) for name, (kind, _) in hints.items()}, required


def _expected(data: Any, fits: bool, kind: Any) -> Any:
    if not fits:
        raise Malformed(f"expected {getattr(kind, '__name__', kind)}, found {str(data)[:40]!r}")
    return data


def _read(kind: Any, data: Any) -> Any:
    """What a class makes of a text."""
    _expected(data, isinstance(data, str), kind)
    try:
        return kind(data)
    except ValueError as error:
        raise Malformed(str(error)) from error
