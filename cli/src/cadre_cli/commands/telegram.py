"""Where Telegram sends what people write to a bot."""

from typing import TYPE_CHECKING, Annotated

import typer

from cadre_cli.groups import group
from cadre_cli.options import JsonFlag
from cadre_cli.screen import escape, output, print_json
from cadre_cli.session import gateway

if TYPE_CHECKING:
    from cadre_client import TelegramConnection

__all__ = ["app"]

app = group("Connect Telegram bots, which start workflows.")

Bot = Annotated[str, typer.Argument(help="The bot's name in workflow files.", show_default=False)]


@app.command(epilog="Example: cadre telegram connect helper --url https://cadre.example.org")
def connect(
    bot: Bot,
    url: Annotated[
        str,
        typer.Option(
            help="The gateway's public address, https only. Telegram sends to the ports 443, 80, 88 and 8443.",
            show_default=False,
        ),
    ],
    json_: JsonFlag = False,
) -> None:
    """Have Telegram send a bot's messages to the gateway.

    The bot's token is in CADRE_TELEGRAM_<BOT>_TOKEN of the gateway's environment. Without a public address set
    CADRE_TELEGRAM_POLLING=true there, and connect nothing.
    """
    with gateway() as client:
        _show(client.connect_telegram(bot, url), json_)


@app.command(epilog="Example: cadre telegram disconnect helper")
def disconnect(bot: Bot, json_: JsonFlag = False) -> None:
    """Have Telegram send a bot's messages nowhere, so that the gateway can ask for them."""
    with gateway() as client:
        _show(client.disconnect_telegram(bot), json_)


def _show(found: "TelegramConnection", json_: bool) -> None:
    if json_:
        print_json(found.model_dump(mode="json"))
        return
    where = f"are sent to {found.address}" if found.address else "are sent nowhere"
    output().print(f"Messages to @{escape(found.username)} {escape(where)}.", highlight=False)
    if found.pending:
        output().print(f"{found.pending} wait at Telegram.", highlight=False)
    if found.last_error:
        output().print(f"Telegram could not send one: {escape(found.last_error)}", highlight=False)
