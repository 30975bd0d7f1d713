"""A mailbox that answers: real IMAP and SMTP servers on loopback, the real gateway between."""

from __future__ import annotations

import asyncio
import hashlib
import hmac
from collections.abc import AsyncIterator, Iterator
from typing import Any

import httpx
import pytest
from tests.fakes.connections import add_trigger, api_of, arrived, end, run_of, until_parked
from tests.fakes.mail import (
    ADDRESS,
    PASSWORD,
    USER,
    ImapServer,
    SmtpServer,
    a_mail,
    imap_server,
    smtp_server,
)

SECRET = "a-secret-of-the-mail-server"
HOOK = "/hooks/email/desk"


@pytest.fixture
def smtp(monkeypatch: pytest.MonkeyPatch) -> Iterator[SmtpServer]:
    with smtp_server() as server:
        monkeypatch.setenv("CADRE_EMAIL_DESK_ADDRESS", ADDRESS)
        monkeypatch.setenv("CADRE_EMAIL_DESK_USER", USER)
        monkeypatch.setenv("CADRE_EMAIL_DESK_PASSWORD", PASSWORD)
        monkeypatch.setenv("CADRE_EMAIL_DESK_SMTP_URL", server.url)
        monkeypatch.setenv("CADRE_EMAIL_DESK_HOOK_SECRET", SECRET)
        yield server


@pytest.fixture(scope="module")
def imap() -> Iterator[ImapServer]:
    with imap_server() as server:
        yield server


@pytest.fixture
async def gateway(start: Any, smtp: SmtpServer) -> AsyncIterator[Any]:
    """A gateway that a mail server posts to."""
    async with start() as running:
        add_trigger(running, "email", "desk")
        yield running


@pytest.fixture
async def api(gateway: Any) -> AsyncIterator[httpx.AsyncClient]:
    async with api_of(gateway) as found:
        yield found


async def post(api: httpx.AsyncClient, mail: bytes, *, secret: str = SECRET) -> httpx.Response:
    signature = hmac.new(secret.encode(), mail, hashlib.sha256).hexdigest()
    headers = {"x-hub-signature-256": f"sha256={signature}", "content-type": "message/rfc822"}
    return await api.post(HOOK, content=mail, headers=headers)


async def test_a_mail_is_answered_once_in_its_thread(
    gateway: Any, api: httpx.AsyncClient, smtp: SmtpServer, eventually: Any
) -> None:
    smtp.answers = ["451 later"]
    long = f"<{'i' * 150}@example.com>"
    mail = a_mail(References=f"<0@example.com> {long}", In_Reply_To=long)

    answers = [await post(api, mail) for _ in range(2)]
    run = await run_of(gateway)
    await end(gateway, run, "Yes, since Monday. Grüße")
    await eventually(lambda: smtp.mails, seconds=60)

    assert [answer.status_code for answer in answers] == [200, 200]
    assert len(gateway.executor.runs) == 1
    content = arrived(gateway, run)
    expected = {"text": "Is it on?", "sender": "ada@example.com", "conversation": "0@example.com"}
    assert {name: content[name] for name in expected} == expected
    assert content["body"]["subject"] == "The heating"
    (reply,) = smtp.mails
    assert (reply["To"], reply["From"]) == ("ada@example.com", ADDRESS)
    assert reply["Subject"] == "Re: The heating"
    assert reply["In-Reply-To"] == "<1@example.com>"
    assert str(reply["References"]).split() == ["<0@example.com>", long, "<1@example.com>"]
    assert reply["Auto-Submitted"] == "auto-replied"
    assert reply["X-Auto-Response-Suppress"] == "All"
    assert reply["Message-ID"].endswith("@example.org>")
    assert reply.get_content().strip() == "Yes, since Monday. Grüße"


async def test_only_who_signs_is_let_in_and_rubbish_is_told_so(api: httpx.AsyncClient) -> None:
    unsigned = await api.post(HOOK, content=a_mail())
    forged = await post(api, a_mail(), secret="another-secret-of-some-length")
    rubbish = await post(api, b"\x00\xff no mail at all")

    assert [answer.status_code for answer in (unsigned, forged, rubbish)] == [401, 401, 400]
    assert rubbish.json()["code"] == "MAIL_UNREADABLE"


async def test_machines_and_the_mailbox_itself_are_never_answered(
    gateway: Any, api: httpx.AsyncClient, eventually: Any
) -> None:
    mails = [
        a_mail(key="<a@x>", Auto_Submitted="auto-replied"),
        a_mail(key="<b@x>", Precedence="bulk"),
        a_mail(key="<c@x>", From="MAILER-DAEMON@example.com"),
        a_mail(key="<d@x>", Return_Path="<>"),
        a_mail(key="<e@x>", From="desk@example.org"),
        a_mail(key="<f@x>", List_Id="<all.example.com>"),
    ]

    answers = [(await post(api, mail)).status_code for mail in mails]
    await post(api, a_mail(key="<g@x>", Auto_Submitted="no"))
    await run_of(gateway)

    assert answers == [200] * len(mails)
    assert len(gateway.executor.runs) == 1
    assert len((await api.get("/api/v1/deliveries")).json()["deliveries"]) == 1


async def test_a_reply_that_the_mail_server_refuses_is_parked_without_the_password(
    gateway: Any, api: httpx.AsyncClient, smtp: SmtpServer
) -> None:
    smtp.answers = ["550 no such person"]
    await post(api, a_mail())
    await end(gateway, await run_of(gateway), "Yes")

    parked = await until_parked(api)

    assert (parked["error"]["code"], "550" in parked["error"]["message"]) == ("UNDELIVERABLE", True)
    assert PASSWORD not in str(parked)


async def test_a_mailbox_is_read_and_rubbish_in_it_stops_nothing(
    start: Any, smtp: SmtpServer, imap: ImapServer, eventually: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CADRE_EMAIL_DESK_IMAP_URL", imap.url)
    await asyncio.to_thread(
        imap.append, b"rubbish\r\n\r\n", b"From: nobody\r\n\r\nhi\r\n", a_mail(), a_mail("again")
    )
    async with start(email_poll_seconds=0.2) as gateway:
        add_trigger(gateway, "email", "desk")
        await end(gateway, await run_of(gateway), "Yes")
        await eventually(lambda: smtp.mails, seconds=30)
        await asyncio.to_thread(imap.append, a_mail("And now?", key="<2@example.com>"))
        second = await run_of(gateway, number=2)
        async with asyncio.timeout(30):
            while await asyncio.to_thread(imap.unread):  # noqa: ASYNC110 - nobody tells
                await asyncio.sleep(0.1)

    assert len(gateway.executor.runs) == 2
    assert arrived(gateway, second)["text"] == "And now?"


async def test_a_mail_that_is_too_large_is_answered_so(
    smtp: SmtpServer, eventually: Any, start: Any,
    imap: ImapServer, monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    monkeypatch.setenv("CADRE_EMAIL_DESK_IMAP_URL", imap.url)
    await asyncio.to_thread(imap.append, a_mail("word " * 2_200_000, key="<large@x>"))
    async with start(email_poll_seconds=0.2) as polling:
        add_trigger(polling, "email", "desk")
        await eventually(lambda: smtp.mails, seconds=60)

    (reply,) = smtp.mails
    assert "larger than I take" in reply.get_content()
    assert not polling.executor.runs
