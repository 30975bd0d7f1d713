"""Markdown in the marks of Slack and of WhatsApp."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cadre_gateway.connectors.marks import SLACK, WHATSAPP, Marks, marked_pieces

ANSWER = """# The plan 😀

Some **bold**, *italic* and ***both***, ~~gone~~, `a_b < c` & [a link](https://e.org/?a=1&b=2).

- one **x**

> said **so**
> twice

```python
x = 1 < 2
```
"""


def test_slack_gets_its_marks_its_links_and_its_escapes() -> None:
    assert marked_pieces(ANSWER, SLACK, limit=4000) == [
        "*The plan 😀*\n\nSome *bold*, _italic_ and *_both_*, ~gone~, `a_b &lt; c` &amp; "
        "<https://e.org/?a=1&amp;b=2|a link>.\n\n• one *x*\n\n> said *so*\n> twice\n\n```\nx = 1 &lt; 2\n```"
    ]


def test_whatsapp_gets_its_marks_and_addresses_beside_their_words() -> None:
    assert marked_pieces(ANSWER, WHATSAPP, limit=4000) == [
        "*The plan 😀*\n\nSome *bold*, _italic_ and *_both_*, ~gone~, `a_b < c` & "
        "a link (https://e.org/?a=1&b=2).\n\n• one *x*\n\n> said *so*\n> twice\n\n```\nx = 1 < 2\n```"
    ]


def test_marks_are_closed_in_their_line() -> None:
    assert marked_pieces("**one\ntwo**", WHATSAPP, limit=100) == ["*one*\n*two*"]


@pytest.mark.parametrize(
    "said",
    [
        "<!channel>",
        "[x](!channel)",
        "[x](https://e.org/>|<!here)",
        "<@U1>",
        "[<!here>](https://e.org)",
    ],
)
def test_nobody_is_called_by_what_a_model_writes(said: str) -> None:
    (piece,) = marked_pieces(said, SLACK, limit=100)

    assert "<!" not in piece
    assert "<@" not in piece


def test_a_part_is_marked_on_both_sides_of_a_cut() -> None:
    words = " ".join(f"word{number}" for number in range(40))

    found = marked_pieces(f"**{words}**", WHATSAPP, limit=100)

    assert len(found) > 1
    assert all(piece.startswith("*word") and piece.endswith("*") for piece in found)


@pytest.mark.parametrize("marks", [SLACK, WHATSAPP])
@given(markdown=st.text(alphabet="ab *_~`[]()<>!|#-\n😀\ud800&", max_size=80))
def test_any_text_makes_messages(marks: Marks, markdown: str) -> None:
    for piece in marked_pieces(markdown, marks, limit=30):
        assert piece.strip()
