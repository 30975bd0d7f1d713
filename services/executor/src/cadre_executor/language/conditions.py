"""Conditions: expressions over the state, checked against its types and compiled to closures; nothing is evaluated.

Python's parser reads them, an allow-list decides what they may hold: literals, references, comparisons, `and or not
in`, arithmetic, and three functions. What they compute is bounded, whatever the state holds.
"""

import ast
import operator
import re
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from typing import Any, TypeAlias

from cadre_executor.domain.workflows import Scope
from cadre_executor.language.positions import Path
from cadre_executor.language.references import (
    Names,
    Reference,
    ReferenceFailed,
    UnknownName,
    find,
)
from cadre_executor.language.reports import Report, Suggestion, shown
from cadre_executor.language.types import (
    Anything,
    Boolean,
    DictOf,
    Integer,
    ListOf,
    Nullable,
    Number,
    ObjectOf,
    Text,
    Type,
    bare,
    is_number,
    kind_of,
)
from cadre_kit.errors import FailedPrecondition

MAX_LENGTH = 2000
MAX_NESTING = 40
MAX_TEXT = 1024 * 1024
"""Characters or items of what `+` makes."""
MAX_BITS = 4096
"""Bits of a whole number that arithmetic makes."""

_NESTS = re.compile(r"[()\[\]{}+-]")
_STRINGS = re.compile(r"""'(?:[^'\\\n]|\\.)*'|"(?:[^"\\\n]|\\.)*\"""")
_BAD_ESCAPE = re.compile(r"""\\[^\\'"ntr]""")
_TYPOGRAPHIC = re.compile("[\u2018\u2019\u201c\u201d\u201e]")
_QUOTED_REFERENCE = re.compile(r"\{\s*state\.")

Compute: TypeAlias = Callable[[Scope], Any]


class ConditionFailed(FailedPrecondition):
    """A condition cannot be computed with the values that the state holds now."""

    code = "CONDITION_FAILED"


class _Bad(Exception):
    """A condition is not written as the language writes them."""

    def __init__(
        self,
        message: str,
        resolution: str | Suggestion = "",
        code: str = "INVALID_CONDITION",
    ) -> None:
        super().__init__(message)
        self.resolution = resolution
        self.code = code


@dataclass(frozen=True, kw_only=True)
class Expression:
    """A compiled condition. Without `references` it never changes."""

    text: str
    compute: Compute
    references: tuple[Reference, ...] = ()

    def holds(self, scope: Scope) -> bool:
        """Whether it is true. Raises ConditionFailed, ReferenceFailed."""
        return bool(self.compute(scope))

    def values(self, scope: Scope) -> Mapping[str, Any]:
        """What it reads, by name."""
        found = {}
        for reference in self.references:
            with suppress(ReferenceFailed):
                found[reference.text] = reference.read(scope)
        return found

    @property
    def is_never(self) -> bool:
        """Whether it is known to be false: it names nothing, and so never changes."""
        if self.references or self.compute is unknown:
            return False
        with suppress(ConditionFailed):
            return not self.compute(Scope(state={}))
        return False

    @property
    def counts_loops(self) -> bool:
        """Whether it reads how often a loop was taken."""
        return any(reference.name.startswith("_") for reference in self.references)


def unknown(scope: Scope) -> bool:
    """Stands in for a condition that is wrong, of which nothing is known."""
    return False


@dataclass(frozen=True, kw_only=True)
class _Part:
    """A compiled part of a condition, the type of its values, and its literal where it is one."""

    compute: Compute
    type: Type
    literal: Any = None
    is_literal: bool = False


def compile_condition(text: str, names: Names, report: Report, path: Path) -> Expression | None:
    """The condition that a text writes, or None when it is wrong, the report then saying why."""
    compiler = _ConditionCompiler(names, report, path)
    try:
        part = compiler.part(_parsed(text))
    except _Bad as exc:
        report.error(exc.code, path, f"condition {shown(text)}: {exc}", exc.resolution)
        return None
    except UnknownName as exc:
        report.error(
            exc.code,
            path,
            f"condition {shown(text)}: {exc}",
            report.did_you_mean(exc.name, exc.known, "declare it under state.fields"),
        )
        return None
    return Expression(
        text=text,
        compute=part.compute,
        references=tuple(dict.fromkeys(compiler.references)),
    )


def _parsed(text: str) -> ast.expr:
    """The tree of a text. Braces around a reference are parentheses; those within quotes stay text."""
    if len(text) > MAX_LENGTH:
        raise _Bad(f"it is longer than {MAX_LENGTH} characters", "compute it in a code node")
    if not text.strip():
        raise _Bad("it is empty", "write an expression, or leave it out")
    for quoted in _STRINGS.findall(text):
        if _QUOTED_REFERENCE.search(quoted):
            raise _Bad("a reference between quotes is text", "remove the quotes around {state...}")
        if _BAD_ESCAPE.search(quoted):
            raise _Bad("an escape in a text is not known", "write \\\\ for a backslash")
    outside = _STRINGS.split(text)
    for wrong, right in (("&&", "and"), ("||", "or"), ("===", "==")):
        if any(wrong in part for part in outside):
            raise _Bad(
                f"{wrong} is not an operator here",
                Suggestion(text=f"write `{right}`", old=wrong, new=right),
            )
    if any(_TYPOGRAPHIC.search(part) for part in outside):
        raise _Bad("it has typographic quotation marks", "put texts between ' and '")
    _check_nesting(outside)
    source = "".join(
        part.replace("{", "(").replace("}", ")") + quoted
        for part, quoted in zip(outside, [*_STRINGS.findall(text), ""], strict=True)
    )
    try:
        return ast.parse(" ".join(source.splitlines()).strip(), mode="eval").body
    except (SyntaxError, ValueError, RecursionError, MemoryError) as exc:
        hint = "compare with ==, not =" if re.search(r"[^=!<>]=[^=]", " ".join(outside)) else ""
        raise _Bad(
            "it is not an expression",
            hint or "write for example state.score >= 7 and state.kind == 'a'",
        ) from exc


def _check_nesting(outside: list[str]) -> None:
    depth = deepest = signs = 0
    for character in _NESTS.findall("".join(outside)):
        depth += (character in "([{") - (character in ")]}")
        signs += character in "-+"
        deepest = max(deepest, depth)
    words = " ".join(outside).split()
    if deepest > MAX_NESTING or signs > 100 or words.count("not") > 100:
        raise _Bad(f"it nests deeper than {MAX_NESTING} levels", "compute it in a code node")


class _ConditionCompiler:
    """Compiles one condition, part by part. Raises _Bad and UnknownName."""

    def __init__(self, names: Names, report: Report, path: Path) -> None:
        self._names = names
        self._report = report
        self._path = path
        self._depth = 0
        self.references: list[Reference] = []

    def part(self, node: ast.expr) -> _Part:
        self._depth += 1
        if self._depth > MAX_NESTING:
            raise _Bad(f"it nests deeper than {MAX_NESTING} levels", "compute it in a code node")
        try:
            return self._part(node)
        finally:
            self._depth -= 1

    def _part(self, node: ast.expr) -> _Part:
        match node:
            case ast.Constant(value=value):
                return _constant(value)
            case ast.Name(id="true" | "false" | "null" as word):
                return _constant({"true": True, "false": False, "null": None}[word])
            case ast.Name() | ast.Attribute() | ast.Subscript():
                return self._reference(node)
            case ast.BoolOp(op=op, values=values):
                return _joined(op, [self.part(value) for value in values])
            case ast.UnaryOp(op=ast.Not(), operand=operand):
                inner = self.part(operand).compute
                return _Part(compute=lambda scope: not inner(scope), type=Boolean())
            case ast.UnaryOp(op=(ast.USub() | ast.UAdd()) as op, operand=operand):
                return self._signed(op, self.part(operand))
            case ast.BinOp(left=left, op=op, right=right):
                return self._arithmetic(op, self.part(left), self.part(right))
            case ast.Compare(left=left, ops=ops, comparators=comparators):
                return self._comparison(left, ops, comparators)
            case ast.List(elts=elements) | ast.Tuple(elts=elements):
                return _listed([self.part(element) for element in elements])
            case ast.Call(func=ast.Name(id=name), args=args, keywords=[]):
                return self._call(name, [self.part(arg) for arg in args])
            case ast.Call():
                raise _Bad(
                    "only len(), lower() and contains() can be called",
                    "write contains(state.text, 'part'), or compute it in a code node",
                )
        raise _Bad(
            f"{_word(node)} is not allowed", "compute it in a code node, and test its output"
        )

    def _reference(self, node: ast.expr) -> _Part:
        parts = _dotted(node)
        reference, type_ = find(self._names, parts)
        self.references.append(reference)
        return _Part(compute=reference.read, type=type_)

    def _comparison(
        self, left: ast.expr, ops: list[ast.cmpop], comparators: list[ast.expr]
    ) -> _Part:
        parts = [self.part(left)]
        tests = []
        for op, comparator in zip(ops, comparators, strict=True):
            right = self._compared(op, parts[-1], comparator)
            tests.append(_test(op, parts[-1], right))
            parts.append(right)
        computes = [part.compute for part in parts]

        def compare(scope: Scope) -> bool:
            before = computes[0](scope)
            for test, compute in zip(tests, computes[1:], strict=True):
                after = compute(scope)
                if not test(before, after):
                    return False
                before = after
            return True

        return _Part(compute=compare, type=Boolean())

    def _compared(self, op: ast.cmpop, left: _Part, node: ast.expr) -> _Part:
        """The right side; (1.0) a single unknown word compared with text is that text."""
        if isinstance(node, ast.Name) and isinstance(op, (ast.Eq, ast.NotEq)):
            known = {*self._names.state, *self._names.inputs, "true", "false", "null"}
            is_text = isinstance(bare(left.type), Text) and not left.is_literal
            if is_text and node.id not in known and not self._report.nearest(node.id, known):
                self._report.note(
                    "UNQUOTED_TEXT",
                    self._path,
                    f"{shown(node.id)} names nothing and is taken as text",
                    Suggestion(
                        text=f"write '{node.id[:40]}' with quotes",
                        old=node.id,
                        new=f"'{node.id}'",
                    ),
                )
                return _constant(node.id)
        return self.part(node)

    def _signed(self, op: ast.unaryop, operand: _Part) -> _Part:
        _need_number(op, operand)
        sign = -1 if isinstance(op, ast.USub) else 1
        if operand.is_literal:
            return _constant(sign * operand.literal)
        inner = operand.compute
        return _Part(compute=lambda scope: sign * _number(inner(scope)), type=operand.type)

    def _arithmetic(self, op: ast.operator, left: _Part, right: _Part) -> _Part:
        compute = _ARITHMETIC.get(type(op))
        if compute is None:
            raise _Bad(f"{_word(op)} is not an operator here", "use + - * / %")
        text_or_list = isinstance(bare(left.type), (Text, ListOf)) and isinstance(op, ast.Add)
        if not text_or_list:
            _need_number(op, left)
            _need_number(op, right)
        elif not _alike(left.type, right.type):
            raise _mismatch(f"{left.type.text} and {right.type.text} cannot be added")
        first, second = left.compute, right.compute
        return _Part(
            compute=lambda scope: compute(first(scope), second(scope)),
            type=_sum_type(op, left.type, right.type),
        )

    def _call(self, name: str, args: list[_Part]) -> _Part:
        function = _FUNCTIONS.get(name)
        if function is None:
            raise _Bad(f"{name[:40]}() cannot be called", "only len(), lower() and contains() can")
        if len(args) != function.arguments:
            raise _Bad(
                f"{name}() takes {function.arguments} argument{'s'[: function.arguments - 1]}"
            )
        if not isinstance(bare(args[0].type), function.of):
            raise _mismatch(f"{name}() does not take {args[0].type.text}")
        computes = [arg.compute for arg in args]
        compute = function.compute
        return _Part(
            compute=lambda scope: compute(*(inner(scope) for inner in computes)), type=function.type
        )


def _dotted(node: ast.expr) -> tuple[str | int, ...]:
    """The parts of a chain of names and literal indexes."""
    match node:
        case ast.Name(id=name):
            return (name,)
        case ast.Attribute(value=value, attr=name):
            return (*_dotted(value), name)
        case ast.Subscript(value=value, slice=ast.Constant(value=int() | str() as index)):
            return (*_dotted(value), index)
        case ast.Subscript(
            value=value,
            slice=ast.UnaryOp(op=ast.USub(), operand=ast.Constant(value=int() as index)),
        ):
            return (*_dotted(value), -index)
        case ast.Subscript():
            raise _Bad("an index is a literal number or text")
    raise _Bad(
        "only the state and a node's inputs have fields", "write state.field or state.field[0]"
    )


_LITERALS: Mapping[type, Type] = {
    str: Text(),
    int: Integer(),
    float: Number(),
    bool: Boolean(),
    type(None): Nullable(of=Anything()),
}


def _constant(value: Any) -> _Part:
    found = _LITERALS.get(type(value))
    if found is None:
        raise _Bad("a literal is text, a number, true, false or null")
    return _Part(compute=lambda _: value, type=found, literal=value, is_literal=True)


def _joined(op: ast.boolop, parts: list[_Part]) -> _Part:
    computes = [part.compute for part in parts]
    if isinstance(op, ast.And):
        return _Part(compute=lambda scope: all(each(scope) for each in computes), type=Boolean())
    return _Part(compute=lambda scope: any(each(scope) for each in computes), type=Boolean())


def _listed(parts: list[_Part]) -> _Part:
    computes = [part.compute for part in parts]
    alike = parts and all(_alike(parts[0].type, part.type) for part in parts)
    return _Part(
        compute=lambda scope: [each(scope) for each in computes],
        type=ListOf(items=parts[0].type if alike else Anything()),
    )


def _test(op: ast.cmpop, left: _Part, right: _Part) -> Callable[[Any, Any], bool]:
    """The function of a comparison. Raises _Bad when no values of the two types can ever pass it."""
    match op:
        case ast.Eq() | ast.NotEq():
            _check_equal(left, right)
            return _equal if isinstance(op, ast.Eq) else _unequal
        case ast.In() | ast.NotIn():
            if not isinstance(bare(right.type), (ListOf, DictOf, ObjectOf, Text, Anything)):
                raise _mismatch(f"nothing is in a value of type {right.type.text}")
            _check_member(left, right)
            return _within if isinstance(op, ast.In) else _not_within
        case ast.Lt() | ast.LtE() | ast.Gt() | ast.GtE():
            _check_ordered(left, right)
            return _ORDER[type(op)]
    raise _Bad("`is` is not an operator here", "write == null or != null")


def _check_equal(left: _Part, right: _Part) -> None:
    null = (left.is_literal and left.literal is None) or (
        right.is_literal and right.literal is None
    )
    if not null and not _alike(left.type, right.type):
        raise _mismatch(
            f"a value of type {left.type.text} never equals one of type {right.type.text}"
        )
    for part, other in ((left, right), (right, left)):
        _check_enum(part.type, other)


def _check_member(left: _Part, right: _Part) -> None:
    container = bare(right.type)
    if isinstance(container, ListOf) and not _alike(left.type, container.items):
        raise _mismatch(
            f"a value of type {left.type.text} is never in one of type {container.text}"
        )
    if isinstance(container, Text) and not _alike(left.type, Text()):
        raise _mismatch(f"a value of type {left.type.text} is never in text")


def _check_enum(type_: Type, literal: _Part) -> None:
    allowed = bare(type_).limits.enum
    if not allowed or literal.literal is None or literal.literal in allowed:
        return
    raise _Bad(
        f"{literal.literal!r} is none of the values that are allowed",
        f"write one of {', '.join(repr(value) for value in allowed[:20])}",
        "TYPE_MISMATCH",
    )


def _check_ordered(left: _Part, right: _Part) -> None:
    for part in (left, right):
        if not isinstance(bare(part.type), (Integer, Number, Text, Anything)):
            raise _mismatch(f"values of type {part.type.text} have no order")
    if not _alike(left.type, right.type):
        raise _mismatch(f"{left.type.text} and {right.type.text} have no order")


def _need_number(op: ast.AST, part: _Part) -> None:
    if not isinstance(bare(part.type), (Integer, Number, Anything)):
        raise _mismatch(f"{_word(op)} takes numbers, not {part.type.text}")


def _alike(first: Type, second: Type) -> bool:
    """Whether a value of one type can equal one of the other."""
    one, other = bare(first), bare(second)
    if isinstance(one, Anything) or isinstance(other, Anything):
        return True
    if is_number(one) and is_number(other):
        return True
    if isinstance(one, (DictOf, ObjectOf)) and isinstance(other, (DictOf, ObjectOf)):
        return True
    return type(one) is type(other)


def _sum_type(op: ast.operator, left: Type, right: Type) -> Type:
    if isinstance(op, ast.Add) and isinstance(bare(left), (Text, ListOf, Anything)):
        return bare(left)
    both_whole = isinstance(bare(left), Integer) and isinstance(bare(right), Integer)
    return Integer() if both_whole and not isinstance(op, ast.Div) else Number()


def _mismatch(message: str) -> _Bad:
    return _Bad(message, "compare values of one type", "TYPE_MISMATCH")


def _word(node: ast.AST) -> str:
    words = {"USub": "-", "UAdd": "+", "Sub": "-", "Add": "+", "Mult": "*", "Div": "/", "Mod": "%"}
    name = type(node).__name__
    return words.get(name, name)


def _failed(message: str) -> ConditionFailed:
    return ConditionFailed(
        f"a condition cannot be computed: {message}",
        resolution="write the field before it is tested, or give it a default",
    )


def _number(value: Any) -> Any:
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        raise _failed(f"{kind_of(value)} is not a number")
    return value


def _bounded(value: Any) -> Any:
    if isinstance(value, int) and value.bit_length() > MAX_BITS:
        raise _failed("a number is too large")
    return value


def _numeric(compute: Callable[[Any, Any], Any]) -> Callable[[Any, Any], Any]:
    def apply(left: Any, right: Any) -> Any:
        first, second = _bounded(_number(left)), _bounded(_number(right))
        try:
            return _bounded(compute(first, second))
        except ZeroDivisionError:
            raise _failed("a number is divided by zero") from None
        except OverflowError:
            raise _failed("a number is too large") from None

    return apply


_plus = _numeric(operator.add)


def _add(left: Any, right: Any) -> Any:
    match left, right:
        case (str(), str()) | (list(), list()):
            if len(left) + len(right) > MAX_TEXT:
                raise _failed(f"a value is longer than {MAX_TEXT}")
            return operator.add(left, right)
    return _plus(left, right)


_ARITHMETIC: dict[type[ast.operator], Callable[[Any, Any], Any]] = {
    ast.Add: _add,
    ast.Sub: _numeric(operator.sub),
    ast.Mult: _numeric(operator.mul),
    ast.Div: _numeric(operator.truediv),
    ast.Mod: _numeric(operator.mod),
}


def _equal(left: Any, right: Any) -> bool:
    """Equality of JSON: true is not 1."""
    if isinstance(left, bool) is not isinstance(right, bool):
        return False
    return bool(left == right)


def _unequal(left: Any, right: Any) -> bool:
    return not _equal(left, right)


def _within(item: Any, container: Any) -> bool:
    match container:
        case str():
            return isinstance(item, str) and item in container
        case Mapping():
            return isinstance(item, str) and item in container
        case list() | tuple():
            return any(_equal(item, each) for each in container)
    raise _failed(f"nothing is in {kind_of(container)}")


def _not_within(item: Any, container: Any) -> bool:
    return not _within(item, container)


def _ordered(compare: Callable[[Any, Any], Any]) -> Callable[[Any, Any], bool]:
    def apply(left: Any, right: Any) -> bool:
        if isinstance(left, str) and isinstance(right, str):
            return bool(compare(left, right))
        return bool(compare(_number(left), _number(right)))

    return apply


_ORDER: dict[type[ast.cmpop], Callable[[Any, Any], bool]] = {
    ast.Lt: _ordered(operator.lt),
    ast.LtE: _ordered(operator.le),
    ast.Gt: _ordered(operator.gt),
    ast.GtE: _ordered(operator.ge),
}


def _len(value: Any) -> int:
    if isinstance(value, (str, list, tuple, Mapping)):
        return len(value)
    raise _failed(f"{kind_of(value)} has no length")


def _lower(value: Any) -> str:
    if isinstance(value, str):
        return value.lower()
    raise _failed(f"{kind_of(value)} is not text")


@dataclass(frozen=True, kw_only=True)
class _Function:
    """A function that conditions may call."""

    arguments: int
    of: tuple[type[Type], ...]
    type: Type
    compute: Callable[..., Any]


_FUNCTIONS = {
    "len": _Function(
        arguments=1, of=(Text, ListOf, DictOf, ObjectOf, Anything), type=Integer(), compute=_len
    ),
    "lower": _Function(arguments=1, of=(Text, Anything), type=Text(), compute=_lower),
    "contains": _Function(
        arguments=2,
        of=(Text, ListOf, DictOf, ObjectOf, Anything),
        type=Boolean(),
        compute=lambda container, item: _within(item, container),
    ),
}
