"""The language's types: how they are written, what values they accept, and their JSON Schemas.

A value is coerced only where nothing is lost: "3" to 3, 3 to 3.0, 3 to "3", JSON text to a list or an object.
"""

import json
import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, TypeAlias

from pydantic_core import SchemaError, SchemaValidator, ValidationError, core_schema

from cadre_executor.domain.workflows import ValueRefused

MAX_TYPE_DEPTH = 16
MAX_TYPE_TEXT = 500
MAX_VALUE_DEPTH = 100

TYPE_NAMES = ("str", "int", "float", "bool", "any", "list", "dict", "object")
OTHER_NAMES = {
    "string": "str",
    "text": "str",
    "integer": "int",
    "number": "float",
    "double": "float",
    "boolean": "bool",
    "array": "list",
    "map": "dict",
    "Any": "any",
    "List": "list",
    "Dict": "dict",
}
"""What other languages call our types."""

_TRUE = frozenset({"true", "yes", "on", "1"})
_FALSE = frozenset({"false", "no", "off", "0"})
_INTEGER = re.compile(r"\s*[-+]?[0-9]{1,300}\s*")
_NUMBER = re.compile(
    r"\s*[-+]?(?:\.[0-9]{1,300}|[0-9]{1,300}(?:\.[0-9]{0,300})?)(?:[eE][-+]?[0-9]{1,5})?\s*"
)


class BadType(Exception):
    """A type is not written as the language writes types; says what to write."""

    def __init__(self, message: str, *, unknown: str = "") -> None:
        super().__init__(message)
        self.unknown = unknown


class _Mismatch(Exception):
    """A value, or a part of it, is not what it should be."""

    def __init__(self, reason: str) -> None:
        super().__init__(reason)
        self.reason = reason
        self.where = ""

    def within(self, part: str) -> "_Mismatch":
        self.where = part + self.where
        return self


class Pattern:
    """A regular expression whose search takes time linear in the text. Raises BadType for what it cannot express."""

    def __init__(self, text: str) -> None:
        self.text = text
        try:
            self._validator = SchemaValidator(core_schema.str_schema(pattern=text))
        except SchemaError as exc:
            raise BadType(
                "the pattern is not a regular expression without look-around and back-references"
            ) from exc

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Pattern) and other.text == self.text

    def __hash__(self) -> int:
        return hash(self.text)

    def found_in(self, value: str) -> bool:
        """Whether it matches somewhere in the text."""
        try:
            self._validator.validate_python(value)
        except ValidationError:
            return False
        return True


@dataclass(frozen=True, kw_only=True)
class Limits:
    """Bounds of a value; None where there is none."""

    enum: tuple[Any, ...] | None = None
    min: float | None = None
    max: float | None = None
    min_length: int | None = None
    max_length: int | None = None
    pattern: Pattern | None = None

    def check(self, value: Any) -> None:
        """Raises _Mismatch for a value outside them."""
        if self.enum is not None and value not in self.enum:
            raise _Mismatch(f"must be one of {json.dumps(self.enum, ensure_ascii=False)}")
        if self.min is not None and value < self.min:
            raise _Mismatch(f"must be at least {self.min:g}, not {value}")
        if self.max is not None and value > self.max:
            raise _Mismatch(f"must be at most {self.max:g}, not {value}")
        if self.min_length is not None and len(value) < self.min_length:
            raise _Mismatch(f"must have a length of at least {self.min_length}, not {len(value)}")
        if self.max_length is not None and len(value) > self.max_length:
            raise _Mismatch(f"must have a length of at most {self.max_length}, not {len(value)}")
        if self.pattern is not None and not self.pattern.found_in(value):
            raise _Mismatch(f"must match the pattern {self.pattern.text}")


NO_LIMITS = Limits()


@dataclass(frozen=True, kw_only=True)
class Type:
    """A type of the language, its limits, and what it is said to hold."""

    limits: Limits = NO_LIMITS
    description: str = ""

    @property
    def text(self) -> str:
        """As the language writes it."""
        raise NotImplementedError

    def accept(self, value: object) -> Any:
        """The value coerced where nothing is lost. Raises ValueRefused saying what it should be."""
        try:
            return self.checked(value)
        except _Mismatch as exc:
            raise ValueRefused(
                f"the value{exc.where and ' at ' + exc.where} {exc.reason}",
                resolution=f"the type is {self.text}",
                metadata={"at": exc.where, "reason": exc.reason, "type": self.text},
            ) from exc

    def json_schema(self) -> dict[str, Any]:
        """Its values' JSON Schema; every object is closed and all its fields are required."""
        schema = self._shape()
        if self.description:
            schema["description"] = self.description
        return schema

    def checked(self, value: object) -> Any:
        """The value coerced and within the limits. Raises _Mismatch."""
        coerced = self._coerced(value)
        if self.limits is not NO_LIMITS:
            self.limits.check(coerced)
        return coerced

    def _coerced(self, value: object) -> Any:
        raise NotImplementedError

    def _shape(self) -> dict[str, Any]:
        raise NotImplementedError


@dataclass(frozen=True, kw_only=True)
class Text(Type):
    """`str`."""

    @property
    def text(self) -> str:
        return "str"

    def _coerced(self, value: object) -> str:
        if isinstance(value, bool):
            return "true" if value else "false"
        if isinstance(value, int):
            return str(value)
        if isinstance(value, float):
            return json.dumps(_finite(value))
        if not isinstance(value, str):
            raise _wrong("str", value)
        return _encodable(value)

    def _shape(self) -> dict[str, Any]:
        found: dict[str, Any] = {"type": "string"}
        limits = self.limits
        if limits.enum is not None:
            found["enum"] = list(limits.enum)
        _put(found, minLength=limits.min_length, maxLength=limits.max_length)
        _put(found, pattern=limits.pattern and limits.pattern.text)
        return found


@dataclass(frozen=True, kw_only=True)
class Integer(Type):
    """`int`."""

    @property
    def text(self) -> str:
        return "int"

    def _coerced(self, value: object) -> int:
        if isinstance(value, int) and not isinstance(value, bool):
            return value
        if isinstance(value, float) and value.is_integer():
            return int(value)
        if isinstance(value, str) and _INTEGER.fullmatch(value):
            return int(value)
        raise _wrong("int", value)

    def _shape(self) -> dict[str, Any]:
        return _number_shape("integer", self.limits)


@dataclass(frozen=True, kw_only=True)
class Number(Type):
    """`float`."""

    @property
    def text(self) -> str:
        return "float"

    def _coerced(self, value: object) -> float:
        if isinstance(value, bool):
            raise _wrong("float", value)
        if isinstance(value, (int, float)) or (isinstance(value, str) and _NUMBER.fullmatch(value)):
            try:
                return _finite(float(value))
            except OverflowError:
                raise _Mismatch("must be a finite number") from None
        raise _wrong("float", value)

    def _shape(self) -> dict[str, Any]:
        return _number_shape("number", self.limits)


@dataclass(frozen=True, kw_only=True)
class Boolean(Type):
    """`bool`."""

    @property
    def text(self) -> str:
        return "bool"

    def _coerced(self, value: object) -> bool:
        if isinstance(value, bool):
            return value
        word = str(value).strip().lower() if isinstance(value, (int, str)) else ""
        if word in _TRUE:
            return True
        if word in _FALSE:
            return False
        raise _wrong("bool", value)

    def _shape(self) -> dict[str, Any]:
        return {"type": "boolean"}


@dataclass(frozen=True, kw_only=True)
class Anything(Type):
    """`any`: every JSON value."""

    @property
    def text(self) -> str:
        return "any"

    def _coerced(self, value: object) -> Any:
        _check_json(value, 0)
        return value

    def _shape(self) -> dict[str, Any]:
        return {}


@dataclass(frozen=True, kw_only=True)
class ListOf(Type):
    """`list[T]`; `list` is `list[any]`."""

    items: Type

    @property
    def text(self) -> str:
        return "list" if isinstance(self.items, Anything) else f"list[{self.items.text}]"

    def _coerced(self, value: object) -> list[Any]:
        found = _from_text(value, "[")
        if not isinstance(found, (list, tuple)):
            raise _wrong(self.text, value)
        return [_checked_at(f"[{index}]", self.items, item) for index, item in enumerate(found)]

    def _shape(self) -> dict[str, Any]:
        found: dict[str, Any] = {"type": "array", "items": self.items.json_schema()}
        return _put(found, minItems=self.limits.min_length, maxItems=self.limits.max_length)


@dataclass(frozen=True, kw_only=True)
class DictOf(Type):
    """`dict[K, V]`; `dict` is `dict[str, any]`. Keys stay text, as in JSON; K says what the text must spell."""

    keys: Type
    values: Type

    @property
    def text(self) -> str:
        if isinstance(self.keys, Text) and isinstance(self.values, Anything):
            return "dict"
        return f"dict[{self.keys.text}, {self.values.text}]"

    def _coerced(self, value: object) -> dict[str, Any]:
        found = _from_text(value, "{")
        if not isinstance(found, Mapping):
            raise _wrong(self.text, value)
        coerced = {}
        for key, item in found.items():
            if not isinstance(key, str):
                raise _Mismatch("must have keys that are text")
            _checked_at(f"[{key[:40]!r}]", self.keys, key)
            coerced[_encodable(key)] = _checked_at(f"[{key[:40]!r}]", self.values, item)
        return coerced

    def _shape(self) -> dict[str, Any]:
        found = {"type": "object", "additionalProperties": self.values.json_schema() or True}
        return _put(
            found, minProperties=self.limits.min_length, maxProperties=self.limits.max_length
        )


@dataclass(frozen=True, kw_only=True)
class Member:
    """One field of an object. `default` counts only when it is not required."""

    type: Type
    required: bool = True
    default: Any = None


@dataclass(frozen=True, kw_only=True)
class ObjectOf(Type):
    """`object` with fields; no others are accepted."""

    members: Mapping[str, Member]

    def __hash__(self) -> int:
        return hash((tuple(self.members), self.description))

    @property
    def text(self) -> str:
        return "object"

    def _coerced(self, value: object) -> dict[str, Any]:
        found = _from_text(value, "{")
        if not isinstance(found, Mapping):
            raise _wrong(f"an object with {', '.join(self.members)}", value)
        for name in found:
            if name not in self.members:
                raise _Mismatch(f"must not have the field {str(name)[:40]!r}")
        return {name: self._member(name, member, found) for name, member in self.members.items()}

    def _member(self, name: str, member: Member, found: Mapping[str, Any]) -> Any:
        if name in found and (found[name] is not None or member.required):
            return _checked_at(f".{name}", member.type, found[name])
        if member.required and not isinstance(member.type, Nullable):
            raise _Mismatch(f"must have the field {name!r}")
        return member.default

    def _shape(self) -> dict[str, Any]:
        shapes = {
            name: (member.type if member.required else nullable(member.type)).json_schema()
            for name, member in self.members.items()
        }
        return {
            "type": "object",
            "properties": shapes,
            "required": list(shapes),
            "additionalProperties": False,
        }


@dataclass(frozen=True, kw_only=True)
class Nullable(Type):
    """`T | null`."""

    of: Type

    @property
    def text(self) -> str:
        return f"{self.of.text} | null"

    def _coerced(self, value: object) -> Any:
        return None if value is None else self.of.checked(value)

    def _shape(self) -> dict[str, Any]:
        return {"anyOf": [self.of.json_schema(), {"type": "null"}]}


@dataclass(frozen=True, kw_only=True)
class OrDefault(Type):
    """The type of a field that takes what a memory holds: nothing found (null) puts the field's default back."""

    of: Type
    default: Any

    @property
    def text(self) -> str:
        return self.of.text

    def _coerced(self, value: object) -> Any:
        return self.default if value is None else self.of.checked(value)

    def _shape(self) -> dict[str, Any]:
        return self.of.json_schema()


Members: TypeAlias = Mapping[str, Member]


def nullable(type_: Type) -> Type:
    """The type with null added, where it has none."""
    if isinstance(type_, (Nullable, Anything)):
        return type_
    return Nullable(of=type_)


def bare(type_: Type) -> Type:
    """The type without null and without what its field adds to it."""
    while isinstance(type_, (Nullable, OrDefault)):
        type_ = type_.of
    return type_


def type_of_literal(value: object) -> Type:
    """The type of a value that a file writes and that is neither text with references nor made of parts."""
    match value:
        case bool():
            return Boolean()
        case int():
            return Integer()
        case float():
            return Number()
        case str():
            return Text()
    return Anything()


def common_type(types: Sequence[Type]) -> Type:
    """The type of a list's items: theirs when they have the same, else any."""
    texts = {type_.text for type_ in types}
    plain = not any(isinstance(bare(type_), ObjectOf) for type_ in types)
    return types[0] if len(texts) == 1 and (plain or len(types) == 1) else Anything()


def is_number(type_: Type) -> bool:
    """Whether its values are numbers."""
    return isinstance(type_, (Integer, Number))


def parse_type(text: str, members: Members | None = None) -> Type:
    """The type that a text such as `list[str] | null` writes; `members` are the fields of `object` in it.

    Raises BadType.
    """
    if len(text) > MAX_TYPE_TEXT:
        raise BadType(f"a type has at most {MAX_TYPE_TEXT} characters")
    parser = _TypeParser(text, members)
    found = parser.union(0)
    parser.expect_end()
    return found


def limited(type_: Type, limits: Limits, description: str) -> Type:
    """The type with limits put where they apply. Raises BadType for one that does not apply to it."""
    if isinstance(type_, Nullable):
        return Nullable(of=limited(type_.of, limits, ""), description=description)
    if (limits.min is not None or limits.max is not None) and not is_number(type_):
        raise BadType(f"min and max limit numbers, not {type_.text}")
    has_length = isinstance(type_, (Text, ListOf, DictOf))
    if (limits.min_length is not None or limits.max_length is not None) and not has_length:
        raise BadType(f"min_length and max_length limit str, list and dict, not {type_.text}")
    if limits.pattern is not None and not isinstance(type_, Text):
        raise BadType(f"pattern limits str, not {type_.text}")
    if limits.enum is not None:
        limits = replace(limits, enum=_enum_of(type_, limits.enum))
    if _crossed(limits.min, limits.max) or _crossed(limits.min_length, limits.max_length):
        raise BadType("the lower limit is above the upper one")
    return replace(
        type_, limits=NO_LIMITS if limits == NO_LIMITS else limits, description=description
    )


def _enum_of(type_: Type, values: tuple[Any, ...]) -> tuple[Any, ...]:
    if not isinstance(type_, (Text, Integer, Number, Anything)):
        raise BadType(f"enum limits str, int and float, not {type_.text}")
    if not values:
        raise BadType("enum must name at least one value")
    try:
        return tuple(type_.checked(value) for value in values)
    except _Mismatch as exc:
        raise BadType(f"a value of enum {exc.reason}") from exc


def _crossed(low: float | None, high: float | None) -> bool:
    return low is not None and high is not None and low > high


class _TypeParser:
    """Reads one type."""

    def __init__(self, text: str, members: Members | None) -> None:
        self._tokens = re.findall(r"[A-Za-z_][A-Za-z0-9_]*|[\[\],|?]|\S", text)
        self._members = members
        self._at = 0
        self._text = text

    def union(self, depth: int) -> Type:
        parts = [self._single(depth)]
        while self._take("|"):
            parts.append(self._single(depth))
        real = [part for part in parts if part is not None]
        if len(real) > 1:
            raise BadType("a type may be joined with null only; write any for several types")
        if not real:
            raise BadType("null alone is not a type; write `T | null`")
        return nullable(real[0]) if len(real) < len(parts) else real[0]

    def expect_end(self) -> None:
        if self._at < len(self._tokens):
            raise BadType(f"unexpected {self._tokens[self._at]!r} in a type")

    def _take(self, token: str) -> bool:
        if self._at < len(self._tokens) and self._tokens[self._at] == token:
            self._at += 1
            return True
        return False

    def _expect(self, token: str) -> None:
        if not self._take(token):
            raise BadType(f"{token!r} is missing in the type")

    def _single(self, depth: int) -> Type | None:
        if depth > MAX_TYPE_DEPTH:
            raise BadType(f"a type nests at most {MAX_TYPE_DEPTH} levels")
        name = self._tokens[self._at] if self._at < len(self._tokens) else ""
        self._at += 1
        match name:
            case "str":
                return Text()
            case "int":
                return Integer()
            case "float":
                return Number()
            case "bool":
                return Boolean()
            case "any":
                return Anything()
            case "null" | "None":
                return None
            case "list":
                return ListOf(items=self._argument(depth) or Anything())
            case "dict":
                return self._dict(depth)
            case "object" if self._members is not None:
                return ObjectOf(members=self._members)
            case "object":
                return DictOf(keys=Text(), values=Anything())
        raise BadType(f"{name[:40]!r} is not a type", unknown=name[:40])

    def _argument(self, depth: int) -> Type | None:
        if not self._take("["):
            return None
        found = self.union(depth + 1)
        self._expect("]")
        return found

    def _dict(self, depth: int) -> Type:
        if not self._take("["):
            return DictOf(keys=Text(), values=Anything())
        keys = self.union(depth + 1)
        if not isinstance(keys, (Text, Integer, Number, Boolean)):
            raise BadType("the keys of a dict are str, int, float or bool")
        self._expect(",")
        values = self.union(depth + 1)
        self._expect("]")
        return DictOf(keys=keys, values=values)


def _checked_at(part: str, type_: Type, value: object) -> Any:
    try:
        return type_.checked(value)
    except _Mismatch as exc:
        raise exc.within(part) from None


def _wrong(expected: str, value: object) -> _Mismatch:
    return _Mismatch(f"must be {expected}, not {kind_of(value)}")


def kind_of(value: object) -> str:
    """What a JSON value is, in words, without its text."""
    match value:
        case None:
            return "null"
        case bool():
            return "true" if value else "false"
        case int() | float():
            return f"the number {str(value)[:40]}"
        case str():
            return "text"
        case list() | tuple():
            return "a list"
        case Mapping():
            return "an object"
    return type(value).__name__


def _finite(value: float) -> float:
    if not math.isfinite(value):
        raise _Mismatch("must be a finite number")
    return value


def _encodable(value: str) -> str:
    """Refuses half of a surrogate pair, which no file, database or wire can hold."""
    if not value.isascii():
        try:
            value.encode()
        except UnicodeEncodeError:
            raise _Mismatch("must be text that UTF-8 can hold") from None
    return value


def _from_text(value: object, bracket: str) -> object:
    """The value that JSON text spells, as a form or a command line gives it; other values as they are."""
    if not isinstance(value, str) or not value.lstrip().startswith(bracket):
        return value
    try:
        return json.loads(value)
    except (ValueError, RecursionError):
        return value


def _check_json(value: object, depth: int) -> None:
    if depth > MAX_VALUE_DEPTH:
        raise _Mismatch(f"must not nest deeper than {MAX_VALUE_DEPTH} levels")
    match value:
        case None | bool() | int():
            return
        case float():
            _finite(value)
        case str():
            _encodable(value)
        case list() | tuple():
            for item in value:
                _check_json(item, depth + 1)
        case Mapping():
            for key, item in value.items():
                if not isinstance(key, str):
                    raise _Mismatch("must have keys that are text")
                _encodable(key)
                _check_json(item, depth + 1)
        case _:
            raise _Mismatch("must be a JSON value")


def _number_shape(name: str, limits: Limits) -> dict[str, Any]:
    found: dict[str, Any] = {"type": name}
    if limits.enum is not None:
        found["enum"] = list(limits.enum)
    return _put(found, minimum=limits.min, maximum=limits.max)


def _put(shape: dict[str, Any], **keywords: Any) -> dict[str, Any]:
    """Adds the keywords that have a value."""
    shape.update({name: value for name, value in keywords.items() if value is not None})
    return shape
