"""What the codes of problems and failures mean: the sections of one page, which comes with the command."""

import re
from dataclasses import dataclass
from functools import cache
from importlib import resources

__all__ = ["Explanation", "explanations"]

_SECTION = re.compile(r"^## (\w+)\n(.*?)(?=^##? |\Z)", re.MULTILINE | re.DOTALL)
_EXAMPLE = re.compile(r"^```yaml\n(.*?)^```", re.MULTILINE | re.DOTALL)


@dataclass(frozen=True, kw_only=True)
class Explanation:
    """What a code means; `wrong` and `right` are parts of files, empty where there is no example."""

    code: str
    meaning: str
    wrong: str = ""
    right: str = ""


@cache
def explanations() -> dict[str, Explanation]:
    """Every explanation by its code, in the page's order."""
    page = (resources.files("cadre_cli") / "pages" / "problems.md").read_text(encoding="utf-8")
    return {code: _explanation(code, text) for code, text in _SECTION.findall(page)}


def _explanation(code: str, text: str) -> Explanation:
    meaning = " ".join(text.partition("\nWrong:")[0].split())
    wrong, right = [*_EXAMPLE.findall(text), "", ""][:2]
    return Explanation(code=code, meaning=meaning, wrong=wrong, right=right)
