"""Compiles a program: RestrictedPython's transformer, widened to the Python that models write.

RestrictedPython refuses every node of the syntax that it does not know, and so does this. Unlike there, only attributes
and the names of things are guarded: items, iteration, unpacking and operators reach nothing that attributes would not.
The guards' own names ("<read>") cannot be spelled in a program, so none can be shadowed.
"""

import __future__

import ast
from collections import defaultdict
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

from RestrictedPython.transformer import RestrictingNodeTransformer, copy_locations

from cadre_sandbox.worker.language.rules import (
    DEFINABLE_DUNDERS,
    MODULE_DUNDERS,
    WATCHED,
    attribute_problem,
    field_problem,
    is_dunder,
    keyword_problem,
    os_problem,
    pattern_problem,
    variable_problem,
)

__all__ = [
    "BUILD",
    "FILENAME",
    "HINT",
    "READ",
    "REFUSE",
    "WRITE",
    "ProgramRefused",
    "compile_program",
]

FILENAME = "<program>"
READ = "<read>"
WRITE = "<write>"
HINT = "<hint>"
REFUSE = "<refuse>"
BUILD = "__build_class__"

_NAME_LISTS = ("__slots__", "__match_args__")


class ProgramRefused(Exception):
    """The program says what is not allowed: each as (line, what)."""

    def __init__(self, problems: list[tuple[int, str]]) -> None:
        super().__init__(f"{len(problems)} problems")
        self.problems = problems


def compile_program(source: str) -> Any:
    """The guarded code. Raises ProgramRefused, or what compile() raises: SyntaxError, ValueError, RecursionError."""
    tree = ast.parse(source, FILENAME)
    flags = _take_future_imports(tree)
    transformer = _Transformer(annotations_stay_text=bool(flags), uses=_uses(tree))
    tree = transformer.visit(tree)
    if transformer.problems:
        raise ProgramRefused(transformer.problems)
    return compile(tree, FILENAME, "exec", flags, dont_inherit=True)


def _uses(tree: ast.Module) -> Mapping[str, set[str]]:
    """The attributes that a program names of each name."""
    found: dict[str, set[str]] = defaultdict(set)
    for node in ast.walk(tree):
        if isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name):
            found[node.value.id].add(node.attr)
    return found


def _take_future_imports(tree: ast.Module) -> int:
    flags = 0
    for node in list(tree.body):
        if isinstance(node, ast.ImportFrom) and node.module == "__future__":
            tree.body.remove(node)
            if any(alias.name == "annotations" for alias in node.names):
                flags = __future__.annotations.compiler_flag
    return flags


class _Transformer(RestrictingNodeTransformer):
    def __init__(self, *, annotations_stay_text: bool, uses: Mapping[str, set[str]]) -> None:
        super().__init__()
        self._annotations_stay_text = annotations_stay_text
        self._uses = uses
        self.problems: list[tuple[int, str]] = []
        self._scopes: list[ast.AST] = []

    def error(self, node: ast.AST, info: str) -> None:
        self.problems.append((getattr(node, "lineno", 0), info))

    def not_allowed(self, node: ast.AST) -> None:
        self.error(node, f"{_SAID.get(type(node).__name__, type(node).__name__)} is not supported")

    def generic_visit(self, node: ast.AST) -> ast.AST:
        self.not_allowed(node)
        return node

    visit_TemplateStr = visit_Interpolation = generic_visit

    def _visit_inside(self, node: ast.AST) -> ast.AST:
        inside: ast.AST = self.node_contents_visit(node)
        return inside

    def _refuse(self, node: ast.AST, problem: str) -> None:
        if problem:
            self.error(node, problem)

    @contextmanager
    def _scope(self, node: ast.AST) -> Iterator[None]:
        self._scopes.append(node)
        try:
            yield
        finally:
            self._scopes.pop()

    def _in_class_body(self) -> bool:
        return bool(self._scopes) and isinstance(self._scopes[-1], ast.ClassDef)

    def _mangled(self, name: str) -> str:
        """What Python makes of `__name` inside a class; done here, as the guard takes the name as text."""
        if not name.startswith("__") or name.endswith("__"):
            return name
        classes = [s.name for s in self._scopes if isinstance(s, ast.ClassDef)]
        owner = classes[-1].lstrip("_") if classes else ""
        return f"_{owner}{name}" if owner else name

    # Names

    def check_name(self, node: Any, name: str | None, allow_magic_methods: bool = False) -> None:
        if name is None:
            return
        if self._in_class_body() and is_dunder(name):
            allowed = name in DEFINABLE_DUNDERS or name in MODULE_DUNDERS
            self._refuse(node, "" if allowed else f"a class may not define {name!r}")
            return
        self._refuse(node, variable_problem(self._mangled(name)))

    def visit_Name(self, node: ast.Name) -> ast.AST:
        if isinstance(node.ctx, ast.Load) and node.id == "__name__":
            return node
        if not self._scopes and node.id in MODULE_DUNDERS:
            return node
        self.check_name(node, node.id)
        return node

    def visit_Global(self, node: ast.Global) -> ast.AST:
        for name in node.names:
            self._refuse(node, variable_problem(name))
        return node

    def visit_Nonlocal(self, node: ast.Nonlocal) -> ast.AST:
        for name in node.names:
            self._refuse(node, variable_problem(self._mangled(name)))
        return node

    def visit_arg(self, node: ast.arg) -> ast.AST:
        self._refuse(node, variable_problem(self._mangled(node.arg)))
        return node

    def visit_keyword(self, node: ast.keyword) -> ast.AST:
        self._refuse(node, keyword_problem(node.arg or ""))
        return self._visit_inside(node)

    def check_import_names(self, node: Any) -> ast.AST:
        for alias in node.names:
            for name in (*alias.name.split("."), alias.asname or ""):
                self._refuse(node, variable_problem(name))
        return self._visit_inside(node)

    def visit_Import(self, node: ast.Import) -> ast.AST:
        for alias in node.names:
            is_os = alias.name == "os" or (alias.name == "os.path" and not alias.asname)
            if is_os and (problem := os_problem(self._uses[alias.asname or "os"])):
                return _refusal(problem, at=node)
        checked: ast.AST = self.check_import_names(node)
        return checked

    def visit_ImportFrom(self, node: ast.ImportFrom) -> ast.AST:
        if node.module == "os" and (problem := os_problem({alias.name for alias in node.names})):
            return _refusal(problem, at=node)
        checked: ast.AST = self.check_import_names(node)
        return checked

    # Attributes

    def visit_Attribute(self, node: ast.Attribute) -> ast.AST:
        write = not isinstance(node.ctx, ast.Load)
        node.attr = self._mangled(node.attr)
        self._refuse(node, attribute_problem(node.attr, write=write))
        node = self.node_contents_visit(node)
        if write:
            node.value = _guard_call(WRITE, node.value, ast.Constant(node.attr), at=node)
            return node
        return _guard_call(READ, node.value, ast.Constant(node.attr), at=node)

    def visit_AugAssign(self, node: ast.AugAssign) -> ast.AST:
        name = node.target.attr if isinstance(node.target, ast.Attribute) else ""
        if name in WATCHED or is_dunder(name):
            # `object.format += x` would read without the guard.
            self.error(node, f"the attribute {name!r} may not be changed in place")
        return self._visit_inside(node)

    # What RestrictedPython rewrites and we need not

    def visit_Call(self, node: ast.Call) -> ast.AST:
        return self._visit_inside(node)

    def visit_Subscript(self, node: ast.Subscript) -> ast.AST:
        return self._visit_inside(node)

    def visit_For(self, node: ast.For) -> ast.AST:
        return self._visit_inside(node)

    def visit_comprehension(self, node: ast.comprehension) -> ast.AST:
        return self._visit_inside(node)

    def visit_With(self, node: ast.AST) -> ast.AST:
        return self._visit_inside(node)

    visit_AsyncWith = visit_AsyncFor = visit_Await = visit_TryStar = visit_With

    def visit_Module(self, node: ast.Module) -> ast.AST:
        return self._visit_inside(node)

    # Assignments

    def visit_Assign(self, node: ast.Assign) -> ast.AST:
        match node.targets:
            case [ast.Name(id=name)] if name in _NAME_LISTS and self._in_class_body():
                self._check_name_list(node, name)
                return node
        return self._visit_inside(node)

    def _check_name_list(self, node: ast.Assign, name: str) -> None:
        """Python reads these attributes by itself, so what is in them has to be known now."""
        values = node.value.elts if isinstance(node.value, (ast.Tuple, ast.List)) else [node.value]
        texts = [
            v.value for v in values if isinstance(v, ast.Constant) and isinstance(v.value, str)
        ]
        if len(texts) != len(values):
            self.error(node, f"{name} must be a tuple of names in quotes")
        check = pattern_problem if name == "__match_args__" else field_problem
        for text in texts:
            self._refuse(node, check(self._mangled(text)))

    def visit_AnnAssign(self, node: ast.AnnAssign) -> ast.AST | None:
        if self._in_class_body():
            if isinstance(node.target, ast.Name) and is_dunder(node.target.id):
                self.error(node, f"{node.target.id} may not have a type")
            if self._annotations_stay_text:
                node.target = self.visit(node.target)
                if node.value is not None:
                    node.value = self.visit(node.value)
                return node
            return self._visit_inside(node)
        if node.value is None:
            return ast.copy_location(ast.Pass(), node)
        plain = ast.copy_location(ast.Assign(targets=[node.target], value=node.value), node)
        return self.visit_Assign(plain)

    def visit_NamedExpr(self, node: ast.NamedExpr) -> ast.AST:
        if is_dunder(node.target.id):
            self.error(node, f"the name {node.target.id!r} is not allowed")
        return self._visit_inside(node)

    # Functions and classes

    def visit_FunctionDef(self, node: ast.FunctionDef | ast.AsyncFunctionDef) -> ast.AST:
        self.check_name(node, node.name)
        node.returns = self._visit_hint(node.returns)
        node.decorator_list = [self.visit(decorator) for decorator in node.decorator_list]
        decorators, node.decorator_list = node.decorator_list, []
        self._visit_defaults(node.args)
        with self._scope(node):
            node.args = self._visit_arguments(node.args)
            node.body = [line for old in node.body for line in _listed(self.visit(old))]
        node.decorator_list = decorators
        self._refuse_type_parameters(node)
        return node

    visit_AsyncFunctionDef = visit_FunctionDef

    def visit_Lambda(self, node: ast.Lambda) -> ast.AST:
        self._visit_defaults(node.args)
        with self._scope(node):
            node.args = self._visit_arguments(node.args)
            node.body = self.visit(node.body)
        return node

    def _visit_defaults(self, arguments: ast.arguments) -> None:
        arguments.defaults = [self.visit(value) for value in arguments.defaults]
        arguments.kw_defaults = [
            None if value is None else self.visit(value) for value in arguments.kw_defaults
        ]
        for argument in _arguments(arguments):
            argument.annotation = self._visit_hint(argument.annotation)

    def _visit_hint(self, hint: ast.expr | None) -> ast.expr | None:
        """Only some programs read hints, so that one which cannot be evaluated stays text, as all do on demand."""
        if hint is None or self._annotations_stay_text:
            return hint
        text = ast.Constant(ast.unparse(hint))
        nothing = ast.arguments(posonlyargs=[], args=[], kwonlyargs=[], kw_defaults=[], defaults=[])
        evaluate = ast.Lambda(args=nothing, body=self.visit(hint))
        return _guard_call(HINT, evaluate, text, at=hint)

    def _visit_arguments(self, arguments: ast.arguments) -> ast.arguments:
        for argument in _arguments(arguments):
            self.visit(argument)
        return arguments

    def visit_ClassDef(self, node: ast.ClassDef) -> ast.AST:
        self.check_name(node, node.name)
        node.decorator_list = [self.visit(decorator) for decorator in node.decorator_list]
        node.bases = [self.visit(base) for base in node.bases]
        node.keywords = [self.visit(keyword) for keyword in node.keywords]
        with self._scope(node):
            node.body = [line for old in node.body for line in _listed(self.visit(old))]
        self._refuse_type_parameters(node)
        return node

    def _refuse_type_parameters(self, node: ast.AST) -> None:
        if getattr(node, "type_params", None):
            self.error(node, "type parameters in brackets are not supported; use typing.TypeVar")

    # Patterns

    def visit_Match(self, node: Any) -> ast.AST:
        return self._visit_inside(node)

    visit_match_case = visit_MatchSingleton = visit_MatchSequence = visit_MatchOr = visit_Match

    def visit_MatchValue(self, node: ast.MatchValue) -> ast.AST:
        self._check_pattern_names(node.value)
        return node

    def visit_MatchAs(self, node: ast.MatchAs) -> ast.AST:
        self.check_name(node, node.name)
        return self._visit_inside(node)

    def visit_MatchStar(self, node: ast.MatchStar) -> ast.AST:
        self.check_name(node, node.name)
        return node

    def visit_MatchMapping(self, node: ast.MatchMapping) -> ast.AST:
        self.check_name(node, node.rest)
        return self._visit_inside(node)

    def visit_MatchClass(self, node: ast.MatchClass) -> ast.AST:
        for name in node.kwd_attrs:
            self._refuse(node, pattern_problem(name))
        self._check_pattern_names(node.cls)
        node.patterns = [self.visit(pattern) for pattern in node.patterns]
        node.kwd_patterns = [self.visit(pattern) for pattern in node.kwd_patterns]
        return node

    def _check_pattern_names(self, value: ast.expr) -> None:
        """Python takes no call in a pattern's value or class, so its dotted names are read without the guard."""
        for part in ast.walk(value):
            if isinstance(part, ast.Attribute):
                self._refuse(part, pattern_problem(part.attr))
            elif isinstance(part, ast.Name):
                self.check_name(part, part.id)
            elif not isinstance(part, _PLAIN_PATTERN_PARTS):
                self.not_allowed(part)


_PLAIN_PATTERN_PARTS = (
    ast.Constant,
    ast.UnaryOp,
    ast.BinOp,
    ast.operator,
    ast.unaryop,
    ast.expr_context,
)
_SAID = {
    "TypeAlias": "the type statement",
}


def _listed(visited: Any) -> list[Any]:
    if visited is None:
        return []
    return visited if isinstance(visited, list) else [visited]


def _arguments(arguments: ast.arguments) -> list[ast.arg]:
    stars = [star for star in (arguments.vararg, arguments.kwarg) if star is not None]
    return [*arguments.posonlyargs, *arguments.args, *arguments.kwonlyargs, *stars]


def _refusal(problem: str, *, at: ast.stmt) -> ast.stmt:
    """A statement that refuses the import in whose place it stands."""
    return ast.copy_location(ast.Expr(_guard_call(REFUSE, ast.Constant(problem), at=at)), at)


def _guard_call(guard: str, *arguments: ast.expr, at: ast.expr | ast.stmt) -> ast.Call:
    call = ast.Call(func=ast.Name(guard, ast.Load()), args=list(arguments), keywords=[])
    copy_locations(call, at)
    return call
