"""What mails say, whatever program wrote them."""

import base64
from email.message import EmailMessage

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.fakes.mail import a_mail

from cadre_gateway.connectors.mails import MailUnreadable, read_mail, text_of_html


def test_html_becomes_what_its_reader_sees() -> None:
    page = """<html><head><title>T</title><style>p {}</style></head><body>
      <h1>Hello</h1><p>Is <b>it</b>&nbsp;on &amp; well?<br>Second line</p>
      <ul><li>one</li><li>two</li></ul><script>alert(1)</script></body>"""

    assert text_of_html(page).split("\n") == [
        "Hello", "", "Is it on & well?", "Second line", "", "- one", "- two",
    ]  # fmt: skip


def test_plain_text_goes_before_html_and_files_come_along() -> None:
    mail = EmailMessage()
    mail["From"], mail["Message-ID"] = "ada@example.com", "<1@x>"
    mail.set_content("plain")
    mail.add_alternative("<p>rich</p>", subtype="html")
    mail.add_attachment(b"%PDF", maintype="application", subtype="pdf", filename="x.pdf")

    found = read_mail(mail.as_bytes())

    assert found.text == "plain"
    (file,) = found.files
    assert (file["name"], file["media_type"], file["size"]) == ("x.pdf", "application/pdf", 4)


def test_files_are_found_wherever_a_mail_program_puts_them() -> None:
    within_a_form = EmailMessage()
    within_a_form["From"] = "ada@example.com"
    within_a_form.set_content("plain")
    within_a_form.add_alternative("<p>rich</p>", subtype="html")
    rich = list(within_a_form.iter_parts())[1]
    assert isinstance(rich, EmailMessage)
    rich.add_attachment(b"%PDF", maintype="application", subtype="pdf", filename="x.pdf")
    scan = EmailMessage()
    scan["From"] = "scanner@example.com"
    scan.set_content(b"%PDF", maintype="application", subtype="pdf", filename="scan.pdf")
    forwarded = EmailMessage()
    forwarded["From"] = "ada@example.com"
    forwarded.set_content("see below")
    forwarded.add_attachment(scan)

    assert [file["name"] for file in read_mail(within_a_form.as_bytes()).files] == ["x.pdf"]
    assert read_mail(within_a_form.as_bytes()).text == "plain"
    assert [file["name"] for file in read_mail(scan.as_bytes()).files] == ["scan.pdf"]
    (inner,) = read_mail(forwarded.as_bytes()).files
    assert inner["media_type"] == "message/rfc822"
    assert b"scanner@example.com" in base64.b64decode(inner["data"])


def test_a_mail_that_is_nested_without_end_is_unreadable_at_worst() -> None:
    lines = [b"From: a@b"]
    for number in range(3_000):
        lines += [b"Content-Type: multipart/mixed; boundary=%d" % number, b"", b"--%d" % number]
    try:
        read_mail(b"\r\n".join(lines))
    except MailUnreadable:
        return


def test_a_mail_of_html_only_is_text_too_and_an_unknown_charset_is_no_trouble() -> None:
    raw = b"From: a@b\r\nContent-Type: text/html; charset=x-none\r\n\r\n<p>Gr\xc3\xbc\xc3\x9fe</p>"

    assert read_mail(raw).text == "Grüße"


def test_a_mail_without_an_id_is_known_by_what_it_says() -> None:
    raw = b"From: a@b\r\n\r\nhi"

    assert read_mail(raw).message_id == read_mail(raw).message_id
    assert read_mail(raw).message_id != read_mail(raw + b"!").message_id


def test_the_thread_is_its_first_mail_and_the_answer_goes_where_it_is_wanted() -> None:
    first = read_mail(a_mail(key="<1@x>"))
    third = read_mail(a_mail(key="<3@x>", References="<1@x> <2@x>", Reply_To="B <b@example.com>"))
    only = read_mail(a_mail(key="<2@x>", In_Reply_To="<1@x>"))

    assert {first.conversation, third.conversation, only.conversation} == {"1@x"}
    assert (first.answer_to, third.answer_to) == ("ada@example.com", "b@example.com")


@settings(max_examples=150, deadline=None)
@given(
    st.lists(
        st.sampled_from(
            [
                b"From: a@b\r\n", b"From: =?utf-8?q?=ff?= <a@b>\r\n", b"From: <@>\r\n",
                b"Content-Type: multipart/mixed; boundary=x\r\n", b"\r\n", b"--x\r\n", b"--x--\r\n",
                b"Content-Type: text/html; charset=\xff\r\n", b"Content-Type: message/rfc822\r\n",
                b"Content-Transfer-Encoding: base64\r\n", b"=?=?", b"\xff\x00<p>", b"References: <a@b\r\n",
                b"Message-ID: <\r\n", b"Content-Disposition: attachment; filename*=utf-8''%ff\r\n",
                b"Subject: =?x?b?AAAA?=\r\n", b"To: ;;,<\r\n", b"Date: \r\n",
            ]
        ),
        max_size=14,
    )
)  # fmt: skip
def test_no_rubbish_is_more_than_unreadable(lines: list[bytes]) -> None:
    try:
        found = read_mail(b"".join(lines))
    except MailUnreadable:
        return
    assert "@" in found.sender
    assert found.conversation


def test_a_mail_of_nobody_is_unreadable() -> None:
    with pytest.raises(MailUnreadable):
        read_mail(b"Subject: x\r\n\r\nhi")


def test_nul_in_headers_is_left_out() -> None:
    mail = read_mail(b"From: a@x.org\r\nMessage-ID: <1\0@x>\r\nReferences: <0\0@x>\r\n\r\nhi")

    assert (mail.message_id, mail.references) == ("<1@x>", ("<0@x>",))
