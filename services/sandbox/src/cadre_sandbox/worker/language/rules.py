"""Which names a program may say, wherever Python lets a name be said: one set of rules for compile and run time."""

from collections.abc import Iterable
from collections.abc import Set as AbstractSet
from itertools import takewhile

from RestrictedPython.transformer import INSPECT_ATTRIBUTES

from cadre_sandbox.worker.language.coroutines import LEADS_INSIDE
from cadre_sandbox.worker.language.module_names import OS_NAMES

__all__ = [
    "DEFINABLE_DUNDERS",
    "MODULE_DUNDERS",
    "READABLE_DUNDERS",
    "WATCHED",
    "WRITABLE_DUNDERS",
    "attribute_problem",
    "field_problem",
    "is_dunder",
    "keyword_problem",
    "match_args",
    "os_problem",
    "pattern_problem",
    "variable_problem",
]

_OPERATORS = "add sub mul truediv floordiv mod divmod pow matmul lshift rshift and or xor"

# Methods that classes may define. Python calls them with what the program has in hand anyway. Those that change how
# attributes are found on foreign objects, how classes are made, or how copies are rebuilt are not among them.
DEFINABLE_DUNDERS = frozenset(
    f"__{name}__"
    for name in (
        "init new post_init del repr str bytes format hash bool len length_hint contains iter next reversed "
        "getitem setitem delitem missing call enter exit eq ne lt le gt ge neg pos abs invert int float complex "
        "index round trunc floor ceil getattr setattr delattr get set delete set_name init_subclass "
        "class_getitem copy deepcopy aiter anext aenter aexit await dir sizeof subclasshook "
        + _OPERATORS
    ).split()
) | frozenset(f"__{kind}{name}__" for name in _OPERATORS.split() for kind in ("r", "i"))

_UNREADABLE = frozenset(
    ("__getattr__", "__setattr__", "__delattr__", "__get__", "__set__", "__delete__")
)
# __setattr__ and __delattr__ are read as guards; __class__ and __dict__ as what the guards make of them.
READABLE_DUNDERS = (DEFINABLE_DUNDERS - _UNREADABLE) | frozenset(
    [
        "__name__",
        "__qualname__",
        "__doc__",
        "__class__",
        "__dict__",
        "__members__",
        "__cause__",
        "__context__",
        "__notes__",
        "__suppress_context__",
        "__setattr__",
        "__delattr__",
        "__annotations__",
        "__slots__",
        "__match_args__",
        "__module__",
    ]
)
WRITABLE_DUNDERS = frozenset(("__name__", "__qualname__", "__doc__"))
MODULE_DUNDERS = frozenset(("__version__", "__author__", "__all__", "__doc__"))

# Public names that lead somewhere they should not: format strings walk attributes by themselves, AttributeError.obj is
# whatever some library looked at, mro() names the classes that __mro__ names.
WATCHED = INSPECT_ATTRIBUTES | LEADS_INSIDE | frozenset(("format", "format_map", "obj", "mro"))


def is_dunder(name: str) -> bool:
    """Whether it is a name of Python's own: `__so__`."""
    return name.startswith("__") and name.endswith("__") and len(name) > 4


def attribute_problem(name: str, *, write: bool) -> str:
    """Why the attribute may never be read, or written; "" when that depends on the object."""
    if name in INSPECT_ATTRIBUTES:
        return f"the attribute {name!r} is not allowed"
    if is_dunder(name):
        # Those that a class may define may be given to it later too; the guard sees to it that it is a class.
        allowed = WRITABLE_DUNDERS | DEFINABLE_DUNDERS if write else READABLE_DUNDERS
        return "" if name in allowed else f"the attribute {name!r} is not allowed"
    return ""


def pattern_problem(name: str) -> str:
    """Why a class pattern may not read the attribute. Patterns read without our guards, so nothing special may pass."""
    if name.startswith("_") or name in WATCHED:
        return f"the attribute {name!r} is not allowed in a pattern"
    return ""


def match_args(names: Iterable[str]) -> tuple[str, ...]:
    """The fields, up to the first that a pattern may not read, that a class pattern may take by their place."""
    return tuple(takewhile(lambda name: not pattern_problem(name), names))


def variable_problem(name: str) -> str:
    """Why a variable, function, class, argument or import may not be called so."""
    # A function that a class is given later is called as the method will be: `def __repr__(self)`.
    allowed = not is_dunder(name) or name in DEFINABLE_DUNDERS
    return "" if allowed else f"the name {name!r} is not allowed"


def field_problem(name: str) -> str:
    """Why a class may not list a field or a slot of that name. Python writes code out of some of them."""
    return f"the name {name!r} is not allowed" if name.startswith("__") and name != "__" else ""


def os_problem(used: AbstractSet[str]) -> str:
    """Why a program that uses these names of `os`, or none, may not import it."""
    if used and used <= OS_NAMES:
        return ""
    said = f" for {', '.join(sorted(used - OS_NAMES)[:5])}" if used else ""
    given = "; what a program is given is in `inputs`" if used & {"environ", "getenv"} else ""
    there = ", ".join(sorted(OS_NAMES))
    return f"the module 'os' is not allowed{said}: of it there are {there}{given}"


def keyword_problem(name: str) -> str:
    """Why an argument of a call may not be named so."""
    return f"the argument {name!r} is not allowed" if is_dunder(name) else ""
