"""What a question tells of the answer beside its words."""

import pytest

from cadre_memory.domain.entries import Role
from cadre_memory.domain.ranking import role_asked_for


@pytest.mark.parametrize(
    ("question", "role"),
    [
        ("Which stretch did you recommend for my back?", Role.ASSISTANT),
        ("Can you tell me what you suggested?", Role.ASSISTANT),
        ("What did you say when I asked about the stain?", Role.ASSISTANT),
        ("Where do I live?", Role.USER),
        ("Can you remind me where I had dinner?", Role.USER),
        ("Do you know my sister's name?", Role.USER),
        ("What did I tell you about my diet?", Role.USER),
        ("Where does Ben live?", None),
        ("Could you tell me where Ben lives?", None),
    ],
)
def test_whose_words_are_asked_for(question: str, role: Role | None) -> None:
    assert role_asked_for(question) == role
