"""A platform as the builder sees it: models that answer as told, and the executor's own check of files."""

import json
from collections.abc import Mapping, Sequence

from pydantic import JsonValue

from cadre_client import ApiError, Completion, Model, Models, Problem, Usage, Validation
from cadre_executor.language import parse_workflow


class FakePlatform:
    """Gives the replies in turn; `asked` keeps what it was asked. `refusals` of files come before the real check."""

    def __init__(
        self, *replies: JsonValue | ApiError, provider: str = "openai", refusals: Sequence[str] = ()
    ) -> None:
        self.asked: list[list[dict[str, str]]] = []
        self._replies = list(replies)
        self._provider = provider
        self._refusals = list(refusals)

    def complete(
        self,
        messages: Sequence[Mapping[str, str]],
        *,
        model: str = "default",
        schema: Mapping[str, JsonValue] | None = None,
        max_tokens: int | None = None,
        temperature: float | None = None,
    ) -> Completion:
        """The next reply; one that is a text was cut off and has no document."""
        self.asked.append([dict(message) for message in messages])
        reply = self._replies.pop(0)
        if isinstance(reply, ApiError):
            raise reply
        cut = isinstance(reply, str)
        return Completion(
            content=reply if isinstance(reply, str) else json.dumps(reply),
            finish_reason="length" if cut else "stop",
            model=model,
            usage=Usage(calls=1),
            parsed=None if cut else reply,
        )

    def models(self) -> Models:
        """One, the default."""
        model = Model(provider=self._provider, name="m", available=True, default=True)
        return Models(models=(model,))

    def validate(self, source: str) -> Validation:
        """What the language says of a file."""
        if self._refusals:
            message = self._refusals.pop(0)
            return Validation(valid=False, problems=[Problem(code="REFUSED", message=message)])
        found = parse_workflow(source).problems
        problems = [
            Problem(code=p.code, message=p.message, severity=p.severity.value) for p in found
        ]
        return Validation(valid=not any(p.severity == "error" for p in problems), problems=problems)
