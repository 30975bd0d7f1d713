"""The connector of docs/triggers.md, as it is written there, in a gateway that runs."""

from __future__ import annotations

import hashlib
import hmac
import json
import re
from pathlib import Path
from typing import Any

import httpx
from tests.fakes.connections import add_trigger, api_of, end, run_of
from tests.fakes.receiver import receiver

from cadre_gateway.domain.connectors import Connector
from cadre_kit.addresses import AddressRules
from cadre_kit.outgoing import outgoing_client

PAGE = Path(__file__).parents[3] / "docs/triggers.md"
VARIABLES = {"CADRE_PAGER_DESK_SECRET": "a-secret-of-the-pager", "CADRE_PAGER_DESK_TOKEN": "t"}


def example() -> str:
    (found,) = re.findall(r"^```python\n(.*?)^```", PAGE.read_text(), re.MULTILINE | re.DOTALL)
    return str(found)


def pager(api_url: str, client: Any) -> Connector:
    names: dict[str, Any] = {}
    exec(compile(example(), "docs/triggers.md", "exec"), names)
    made: Connector = names["PagerConnector"](variables=VARIABLES, api_url=api_url, client=client)
    return made


def page(text: str) -> tuple[bytes, dict[str, str]]:
    body = json.dumps({"id": "p1", "from": "+4912345", "text": text}).encode()
    secret = VARIABLES["CADRE_PAGER_DESK_SECRET"].encode()
    return body, {"x-pager-signature": hmac.new(secret, body, hashlib.sha256).hexdigest()}


def test_it_has_less_than_a_hundred_lines() -> None:
    assert len(example().splitlines()) < 100


async def test_the_connector_of_the_manual_works(start: Any, eventually: Any) -> None:
    client = outgoing_client(AddressRules.parse("127.0.0.1"))
    async with start() as gateway, client, api_of(gateway) as api:
        with receiver() as provider:
            provider.statuses, provider.retry_after = [503], "1"
            own = pager(provider.url, client)
            gateway.app.state.parts.connectors["pager"] = own
            add_trigger(gateway, "pager", "desk")
            body, headers = page("is it on?")
            answers = [
                (await api.post("/hooks/pager/desk", content=body, headers=headers)).status_code
                for _ in range(2)
            ]
            forged = await api.post("/hooks/pager/desk", content=b"{}", headers=headers)
            await end(gateway, await run_of(gateway), "Yes")
            await eventually(lambda: len(provider.asked) == 2, seconds=40)
            rubbish = [await signed_rubbish(api, each) for each in ("[]", "{}", '{"id": 5}')]
            sample = await api.post("/api/v1/triggers/pager/desk/sample", json={"text": "hi"})

    assert answers == [200, 200]
    assert (forged.status_code, rubbish) == (401, [200, 200, 200])
    assert len(gateway.executor.runs) == 1
    assert json.loads(provider.asked[1][1]) == {"to": "+4912345", "text": "Yes"}
    assert sample.json()["path"] == "/hooks/pager/desk"


async def signed_rubbish(api: httpx.AsyncClient, body: str) -> int:
    secret = VARIABLES["CADRE_PAGER_DESK_SECRET"].encode()
    signature = hmac.new(secret, body.encode(), hashlib.sha256).hexdigest()
    headers = {"x-pager-signature": signature}
    return (await api.post("/hooks/pager/desk", content=body, headers=headers)).status_code
