"""Other people's words stay words."""

import pytest
from markdown_it import MarkdownIt

from cadre_frontend.widgets.texts import plain


@pytest.mark.parametrize(
    "text",
    ["*a* _b_ **c**", "![x](http://elsewhere/x.png)", "[x](http://elsewhere)", "`code`", "# head",
     "- item", "1. item", "> quote", "a | b", "~~gone~~", "<b>x</b>", "back\\slash", "&lt;"],
)  # fmt: skip
def test_markdown_in_it_is_shown_as_it_was_written(text: str) -> None:
    tokens = MarkdownIt().parse(plain(text))

    assert [token.type for token in tokens] == ["paragraph_open", "inline", "paragraph_close"]
    parts = tokens[1].children or []
    assert {part.type for part in parts} <= {"text", "text_special"}
    assert "".join(part.content for part in parts) == text
