"""The words of values and of questions: what is indexed, and what is looked for."""

import json
import re
from collections.abc import Iterator

TEXT_CHARACTERS = 32_768
"""How much of a value's text is searched; what comes after it is stored but not found."""

QUERY_WORDS = 64
"""How many different words of a question are looked for."""

_WORD = re.compile(r"[^\W_]+")

# Words that most English texts have: they find everything, and so nothing.
_STOP_WORDS = frozenset(
    re.findall(
        r"\w+",
        """a about after all also am an and any are as at be because been before being but by can could did do
        does doing for from had has have having he her here hers him his how i if in into is it its
        just me more most my no nor not of on or our ours out over own s same she should so some
        such t than that the their theirs them then there these they this those through to too under
        until up very was we were what when where which while who whom why will with would you your
        yours""",
    )
)


def text_of(value: object) -> str:
    """The words of a document: a string is itself, of anything else each leaf is a line, with its name before it."""
    text = value if isinstance(value, str) else "\n".join(_lines(value))
    # An escaped lone surrogate is JSON, but not text that can be stored or read by anyone.
    return text[:TEXT_CHARACTERS].encode("utf-8", "replace").decode()


def _lines(value: object) -> Iterator[str]:
    # By hand and not by recursion, which deep documents would exhaust.
    room = TEXT_CHARACTERS
    waiting: list[tuple[str, object]] = [("", value)]
    while waiting and room > 0:
        name, found = waiting.pop()
        match found:
            case dict():
                waiting.extend(reversed(found.items()))
            case list():
                waiting.extend((name, each) for each in reversed(found))
            case None | "":
                pass
            case _:
                leaf = found if isinstance(found, str) else json.dumps(found)
                line = f"{name}: {leaf}" if name else leaf
                room -= len(line)
                yield line


def words_of(question: str) -> tuple[str, ...]:
    """The different words of a question, in its order, without those that say nothing unless there are no others."""
    words = list(dict.fromkeys(_WORD.findall(question.lower())))
    telling = [word for word in words if word not in _STOP_WORDS]
    return tuple((telling or words)[:QUERY_WORDS])
