"""Messages of the Cloud API: what they ask for, and how replies are written."""

from collections.abc import Mapping, Sequence
from typing import Any

from cadre_gateway.connectors.buttons import button, pushed
from cadre_gateway.connectors.marks import WHATSAPP, marked_pieces
from cadre_gateway.connectors.whatsapp_api import resolution_of
from cadre_gateway.domain.actions import Action, Say, StartRun
from cadre_gateway.domain.connectors import FILES_TOO_LARGE, MOST_FILE_BYTES, Message, Trigger
from cadre_gateway.domain.deliveries import Receipt, RunQuestion, Trouble
from cadre_gateway.domain.texts import pieces

__all__ = [
    "SAMPLE_PERSON",
    "message_of",
    "question_documents",
    "receipt_of",
    "template_document",
    "text_documents",
]

SAMPLE_PERSON = "0"
"""Who sends samples: no telephone has this number, and no conversation else this name."""

_MOST_BUTTONS = 3
_LONGEST_BUTTON = 20
_MOST_ROWS = 10
_LONGEST_ROW = 24
_LONGEST_ASKED = 1_024
_LONGEST_TEXT = 4_096
_LONGEST_UNMARKED = 3_800
_LONGEST_PARAMETER = 1_000
_NOT_UNDERSTOOD = "I read text, images and documents."
# Nobody says anything with these.
_SILENT = ("reaction", "system", "unsupported", "request_welcome")


def message_of(
    said: Mapping[str, Any], value: Mapping[str, Any], triggers: Sequence[Trigger]
) -> Message | None:
    """What a message asks for; None for what asks for nothing, and for what no trigger takes."""
    key, kind = said.get("id"), said.get("type")
    person = _person(said, value)
    if not isinstance(key, str) or not isinstance(kind, str) or not person or not triggers:
        return None
    asked = _asked(said, kind)
    if asked is None:
        return None
    action, text, files = asked
    # A person's durable id names the conversation: the number they may change or hide.
    durable = person.get("user_id") or person["wa_id"]
    address = {"to": person["wa_id"]} if "wa_id" in person else {"recipient": durable}
    return Message(
        trigger=triggers[0],
        key=key[:200],
        content={
            "body": said,
            "text": text,
            "sender": durable,
            "conversation": durable,
            "event": kind,
            "files": files,
        },
        back={
            "from": value["metadata"]["phone_number_id"],
            "address": address,
            "message": key,
        },
        action=action,
    )


def receipt_of(status: Mapping[str, Any]) -> Receipt | None:
    """What became of a message of ours."""
    key, said = status.get("id"), status.get("status")
    if not isinstance(key, str) or said not in ("sent", "delivered", "read", "failed"):
        return None
    trouble = _trouble(status) if said == "failed" else None
    return Receipt(receipt=key[:200], status=said, trouble=trouble)


def text_documents(markdown: str) -> list[Mapping[str, Any]]:
    """A text in as many messages as it takes, with WhatsApp's marks."""
    written = marked_pieces(markdown, WHATSAPP, limit=_LONGEST_UNMARKED)
    # With very many marks one may still be longer.
    fitting = [piece for each in written for piece in pieces(each, _LONGEST_TEXT)]
    return [{"type": "text", "text": {"body": piece}} for piece in fitting]


def question_documents(run_id: str, question: RunQuestion) -> list[Mapping[str, Any]]:
    """A question with a button for each choice, or a list where there are more than three. What has no room before them
    goes ahead; without choices, or with more than ten, the answer is given elsewhere."""
    choices = question.choices
    if not 1 <= len(choices) <= _MOST_ROWS:
        how = f"{question.message}\n\nAnswer it with `cadre runs answer {run_id}`."
        return text_documents(how)
    ahead, asked = text_documents(question.message), "Please choose."
    if len(ahead) == 1 and len(words := ahead[0]["text"]["body"]) <= _LONGEST_ASKED:
        ahead, asked = [], words
    fits = len(choices) <= _MOST_BUTTONS and max(map(len, choices)) <= _LONGEST_BUTTON
    action = _buttons(run_id, question) if fits else _rows(run_id, question)
    interactive = {
        "type": "button" if fits else "list",
        "body": {"text": asked},
        "action": action,
    }
    return [
        *ahead,
        {"type": "interactive", "interactive": interactive},
    ]


def template_document(
    message: Mapping[str, Any], *, template: str, language: str
) -> Mapping[str, Any]:
    """The same words to the same person as the one parameter of a template, which takes no line breaks."""
    body = message.get("text", {}).get("body") or message["interactive"]["body"]["text"]
    words = " ".join(body.split())[:_LONGEST_PARAMETER]
    parameters = [{"type": "text", "text": words}]
    kept = {name: message[name] for name in _ADDRESS if name in message}
    return {
        **kept,
        "type": "template",
        "template": {
            "name": template,
            "language": {"code": language},
            "components": [{"type": "body", "parameters": parameters}],
        },
    }


_ADDRESS = ("messaging_product", "recipient_type", "to", "recipient")


def _person(said: Mapping[str, Any], value: Mapping[str, Any]) -> dict[str, str]:
    """Who wrote: `user_id` and `wa_id`, those that are known."""
    contacts = value.get("contacts")
    listed = (
        [one for one in contacts if isinstance(one, dict)] if isinstance(contacts, list) else []
    )
    durable, number = said.get("from_user_id"), said.get("from")
    own = [one for one in listed if _is_of(one, durable, number)]
    if not own and len(listed) == 1 and number in (None, listed[0].get("wa_id", number)):
        own = listed
    contact = own[0] if own else {}
    found = {
        "user_id": durable or contact.get("user_id"),
        "wa_id": number or contact.get("wa_id"),
    }
    return {name: one[:100] for name, one in found.items() if isinstance(one, str) and one}


def _is_of(contact: Mapping[str, Any], durable: Any, number: Any) -> bool:
    same_id = durable is not None and contact.get("user_id") == durable
    return same_id or (number is not None and contact.get("wa_id") == number)


def _asked(
    said: Mapping[str, Any], kind: str
) -> tuple[Action, str, Sequence[Mapping[str, Any]]] | None:
    """What is asked for, in which words, with which files."""
    part = said.get(kind)
    inner: Mapping[str, Any] = part if isinstance(part, dict) else {}
    match kind:
        case "text":
            body = inner.get("body")
            return (StartRun(), body, []) if isinstance(body, str) and body else None
        case "interactive" | "button":
            return _chosen(inner)
        case "image" | "document":
            return _with_file(inner, kind)
        case _ if kind in _SILENT:
            return None
        case _:
            return Say(text=_NOT_UNDERSTOOD), "", []


def _chosen(inner: Mapping[str, Any]) -> tuple[Action, str, Sequence[Mapping[str, Any]]] | None:
    """A button or a row of ours; one of somebody's template is as good as its words."""
    reply = inner.get("button_reply") or inner.get("list_reply") or {}
    chosen = reply if isinstance(reply, dict) else {}
    title = chosen.get("title") or inner.get("text") or ""
    action = pushed(str(chosen.get("id", "")))
    if action is not None:
        return action, str(title), []
    return (StartRun(), title, []) if isinstance(title, str) and title else None


def _with_file(
    inner: Mapping[str, Any], kind: str
) -> tuple[Action, str, Sequence[Mapping[str, Any]]] | None:
    if not isinstance(inner.get("id"), str):
        return None
    media_type = str(inner.get("mime_type") or "application/octet-stream")
    name = str(inner.get("filename") or f"{kind}.{media_type.rpartition('/')[2]}")
    file = {"id": inner["id"], "name": name[:200], "media_type": media_type[:100]}
    size, caption = inner.get("file_size"), inner.get("caption")
    if isinstance(size, int) and size > MOST_FILE_BYTES:
        return Say(text=FILES_TOO_LARGE), "", []
    return StartRun(), caption if isinstance(caption, str) else "", [file]


def _trouble(status: Mapping[str, Any]) -> Trouble:
    errors = status.get("errors")
    first = errors[0] if isinstance(errors, list) and errors else {}
    error: Mapping[str, Any] = first if isinstance(first, dict) else {}
    code = error.get("code")
    number = code if isinstance(code, int) else 0
    title = str(error.get("title") or error.get("message") or "no reason is given")[:200]
    return Trouble(
        code="WHATSAPP_REFUSED",
        message=f"WhatsApp could not bring it home: {title} ({number})",
        resolution=resolution_of(number),
    )


def _buttons(run_id: str, question: RunQuestion) -> Mapping[str, Any]:
    replies = [
        {"type": "reply", "reply": {"id": button(run_id, question, number), "title": choice}}
        for number, choice in enumerate(question.choices)
    ]
    return {"buttons": replies}


def _rows(run_id: str, question: RunQuestion) -> Mapping[str, Any]:
    rows = [
        {
            "id": button(run_id, question, number),
            "title": choice[:_LONGEST_ROW],
            # What has no room in the title is below it.
            **({"description": choice[:72]} if len(choice) > _LONGEST_ROW else {}),
        }
        for number, choice in enumerate(question.choices)
    ]
    return {"button": "Choose", "sections": [{"title": "Answers", "rows": rows}]}
