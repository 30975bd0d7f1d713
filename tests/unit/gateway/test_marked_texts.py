"""Markdown in the marks of Slack and of WhatsApp."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cadre_gateway.connectors.styled_texts import SLACK, WHATSAPP, Marks, marked_pieces

ANSWER = """# The plan 😀

Some **bold**, *italic* and ***both***, ~~gone~~, `a_b < c` & [a link](https://e.org/?a=1&b=2).

- one **x**

> said **so**
> twice

```python
x = 1 < 2
```
"""


def pieces(markdown: str, marks: Marks, *, limit: int = 100, longest: int = 4000) -> list[str]:
    return marked_pieces(markdown, marks, limit=limit, longest=longest)


def test_slack_gets_its_marks_its_links_and_its_escapes() -> None:
    assert "\n\n".join(pieces(ANSWER, SLACK)) == (
        "*The plan 😀*\n\nSome *bold*, _italic_ and *_both_*, ~gone~, `a_b &lt; c` &amp; "
        "<https://e.org/?a=1&b=2|a link>.\n\n• one *x*\n\n> said *so*\n> twice\n\n```\nx = 1 &lt; 2\n```"
    )


def test_whatsapp_gets_its_marks_and_addresses_beside_their_text() -> None:
    assert "\n\n".join(pieces(ANSWER, WHATSAPP)) == (
        "*The plan 😀*\n\nSome *bold*, _italic_ and *_both_*, ~gone~, `a_b < c` & "
        "a link (https://e.org/?a=1&b=2).\n\n• one *x*\n\n> said *so*\n> twice\n\n```\nx = 1 < 2\n```"
    )


def test_signs_stand_beside_words_and_in_one_line() -> None:
    assert pieces("**one\ntwo** and <https://e.org>", WHATSAPP) == [
        "*one*\n*two* and https://e.org"
    ]


def test_nobody_is_called_by_what_a_model_writes() -> None:
    said = "<!channel> [x](https://e.org/>|<!here>) <@U1>"

    assert "<!" not in pieces(said, SLACK)[0]
    assert "<@" not in pieces(said, SLACK)[0]


def test_a_part_is_marked_on_both_sides_of_a_cut() -> None:
    words = " ".join(f"word{number}" for number in range(40))

    found = pieces(f"**{words}**", WHATSAPP)

    assert len(found) > 1
    assert all(piece.startswith("*word") and piece.endswith("*") for piece in found)


def test_what_is_too_long_with_its_marks_has_none() -> None:
    assert pieces("**a** " * 20, WHATSAPP, longest=60) == [" ".join("a" * 20)]


@pytest.mark.parametrize("marks", [SLACK, WHATSAPP])
@given(markdown=st.text(alphabet="ab *_~`[]()<>!|#-\n😀\ud800&", max_size=80))
def test_any_text_makes_messages(marks: Marks, markdown: str) -> None:
    for piece in pieces(markdown, marks, limit=30, longest=40):
        assert piece.strip()
