"""The Bot API: one method of it at a time, and what its answers mean for whoever sends."""

import json
from collections.abc import Mapping
from typing import Any

import httpx2

from cadre_gateway.domain.connectors import Variables, connection_variable, required
from cadre_gateway.domain.deliveries import TryAgain, Undeliverable
from cadre_kit.outgoing import Ask, fetch

__all__ = ["TelegramApi", "TelegramRefused"]

# Two calls, where the first is refused, are within the 25 seconds that a reply may take.
_CALL_SECONDS = 12.0


class TelegramRefused(Undeliverable):
    """The Bot API does not do what it was asked for. `status` is its error code, `description` what it says."""

    code = "TELEGRAM_REFUSED"

    def __init__(self, method: str, status: int, said: Mapping[str, Any]) -> None:
        self.status = status
        self.description = str(said.get("description", ""))[:200]
        parameters = said.get("parameters")
        self.parameters: Mapping[str, Any] = parameters if isinstance(parameters, dict) else {}
        super().__init__(
            f"Telegram refuses {method}: {self.description or status}",
            resolution=_RESOLUTIONS.get(status, "Mend what it says, then replay the delivery."),
            metadata={"method": method, "status": str(status)},
        )


_RESOLUTIONS = {
    401: "Set the bot's token anew: @BotFather shows it.",
    403: "The bot was blocked, or is not in the chat any more; discard the delivery.",
    404: "Set the bot's token anew: @BotFather shows it.",
    409: "Only one may ask for a bot's updates: take its webhook away with `cadre telegram disconnect`, or stop the "
    "gateway of another database that polls.",
}


class TelegramApi:
    """Calls methods for bots, whose tokens are in CADRE_TELEGRAM_<BOT>_TOKEN. The token is a part of every address, and
    no error shows one. `url` is where the Bot API is."""

    def __init__(self, *, variables: Variables, url: str, client: httpx2.AsyncClient) -> None:
        self._variables = variables
        self._url = url.rstrip("/")
        self._client = client

    def token(self, bot: str) -> str:
        """A bot's token. Raises SecretNotSet."""
        return required(self._variables, connection_variable("telegram", bot, "TOKEN"))

    def bot_id(self, bot: str) -> int | None:
        """The bot's number, with which its token begins; None without a token."""
        name = connection_variable("telegram", bot, "TOKEN")
        digits = self._variables.get(name, "").partition(":")[0]
        return int(digits) if digits.isascii() and digits.isdigit() and len(digits) < 20 else None

    async def call(
        self, bot: str, method: str, fields: Mapping[str, Any], *, seconds: float = _CALL_SECONDS
    ) -> Any:
        """The result. Raises SecretNotSet, TelegramRefused, TryAgain, and what `fetch` does."""
        ask = Ask(
            url=f"{self._url}/bot{self.token(bot)}/{method}",
            method="POST",
            headers={"content-type": "application/json"},
            body=json.dumps(fields).encode(),
            seconds=seconds,
            max_bytes=8 * 1024 * 1024,
            max_redirects=0,
        )
        answer = await fetch(self._client, ask)
        return _result(method, answer.status, answer.body)

    async def download(self, bot: str, file_id: str, *, max_bytes: int) -> bytes:
        """A file that somebody sent. Raises as `call`, and TooLarge."""
        found = await self.call(bot, "getFile", {"file_id": file_id})
        path = str(found.get("file_path", "")) if isinstance(found, dict) else ""
        ask = Ask(
            url=f"{self._url}/file/bot{self.token(bot)}/{path}",
            seconds=_CALL_SECONDS,
            max_bytes=max_bytes,
            max_redirects=0,
        )
        answer = await fetch(self._client, ask)
        if answer.status != 200:
            raise TryAgain(f"Telegram answered {answer.status} for a file")
        return answer.body


def _result(method: str, status: int, body: bytes) -> Any:
    try:
        said = json.loads(body)
    except ValueError:
        said = None
    if not isinstance(said, dict):
        raise TryAgain(f"Telegram answered {status} to {method}, and no JSON")
    if said.get("ok") is True:
        return said.get("result")
    # Some proxies in front of it answer with a status that is not the error's.
    code = said.get("error_code")
    status = code if isinstance(code, int) else status
    refused = TelegramRefused(method, status, said)
    if status == 429 or status >= 500:
        after = refused.parameters.get("retry_after")
        raise TryAgain(
            f"Telegram answered {status} to {method}",
            after_seconds=float(after) if isinstance(after, int | float) else None,
        )
    raise refused
