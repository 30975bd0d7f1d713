"""Compiles what starts runs by itself."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from croniter import croniter  # type: ignore[import-untyped]  # it ships no annotations

from cadre_executor.domain.triggers import CronTrigger, OutsideTrigger, Trigger
from cadre_executor.domain.workflows import Template
from cadre_executor.language.file_shapes import (
    FileShape,
    MessageShape,
    SlackShape,
    TriggerShape,
    WebhookShape,
)
from cadre_executor.language.inputs import check_values
from cadre_executor.language.positions import Path
from cadre_executor.language.references import Names, Reference
from cadre_executor.language.reports import Report, shown
from cadre_executor.language.states import DeclaredField
from cadre_executor.language.templates import Compiler, TextTemplate
from cadre_executor.language.types import Anything, ListOf, Text, Type, bare

_KINDS = ("cron", "webhook", "slack", "telegram", "whatsapp", "email")
# Only `cadre deploy` sets it up.
_WITHOUT_EFFECT = ("cron",)
_CRON_FIELDS = 5
_MESSAGE_FIELD = "message"

CONTENT: Mapping[str, Type] = {
    "body": Anything(),
    "text": Text(),
    "sender": Text(),
    "conversation": Text(),
    "event": Text(),
    "files": ListOf(items=Anything()),
}
"""What the templates of a trigger's `input` can name: what came, whole; a message's text; who sent it; the chat or
thread that it belongs to; what it is about, as the sender calls it; the files that came with a message."""


def compile_triggers(
    file: FileShape, declared: Mapping[str, DeclaredField], report: Report
) -> tuple[Trigger, ...]:
    """The triggers, checked; those that nothing acts on yet are noted."""
    compiler = _TriggerCompiler(declared=declared, report=report)
    found: list[Trigger] = []
    for index, shape in enumerate(file.triggers or ()):
        path = ("triggers", index)
        found += compiler.triggers(shape, path)
        if any(getattr(shape, kind) is not None for kind in _WITHOUT_EFFECT):
            report.note(
                "NO_EFFECT",
                path,
                "this trigger has no effect",
                "start runs by the clock with `cadre deploy`",
            )
    if file.webhook is not None:
        found.append(compiler.webhook(file.webhook, ("webhook",)))
    return tuple(found)


@dataclass(frozen=True, kw_only=True)
class _TriggerCompiler:
    declared: Mapping[str, DeclaredField]
    report: Report

    def triggers(self, shape: TriggerShape, path: Path) -> Iterator[Trigger]:
        said = [kind for kind in _KINDS if getattr(shape, kind) is not None]
        if len(said) != 1:
            self.report.error(
                "INVALID_TRIGGER",
                path,
                f"a trigger has one of {', '.join(_KINDS)}, not {' and '.join(said) or 'none'}",
                "make each a trigger of its own" if said else "add cron: '0 9 * * 1-5'",
            )
        for key in ("timezone", "inputs"):
            if getattr(shape, key) is not None and shape.cron is None:
                self.report.error(
                    "INVALID_TRIGGER", (*path, key), f"`{key}` belongs to cron", "remove it"
                )
        if shape.cron is not None:
            yield self._cron(shape, shape.cron, path)
        if shape.webhook is not None:
            yield self.webhook(shape.webhook, (*path, "webhook"))
        if shape.slack is not None:
            yield self._message("slack", shape.slack.app, shape.slack, (*path, "slack"))
        if shape.telegram is not None:
            bot = shape.telegram.bot
            yield self._message("telegram", bot, shape.telegram, (*path, "telegram"))
        if shape.whatsapp is not None:
            number = shape.whatsapp.number
            yield self._message("whatsapp", number, shape.whatsapp, (*path, "whatsapp"))
        if shape.email is not None:
            yield self._message("email", shape.email.mailbox, shape.email, (*path, "email"))

    def _cron(self, shape: TriggerShape, cron: str, path: Path) -> CronTrigger:
        if len(cron.split()) != _CRON_FIELDS or not croniter.is_valid(cron):
            self.report.error(
                "CRON_INVALID",
                (*path, "cron"),
                f"{shown(cron)} is no cron expression of {_CRON_FIELDS} fields",
                "write minute hour day month weekday, such as '0 9 * * 1-5'",
            )
        timezone = shape.timezone or "UTC"
        if not _is_timezone(timezone):
            self.report.error(
                "TIMEZONE_UNKNOWN",
                (*path, "timezone"),
                f"there is no time zone {shown(timezone)}",
                "write an IANA name, such as Europe/Berlin",
            )
        inputs = self._defaults(shape.inputs, (*path, "inputs"))
        return CronTrigger(cron=cron, timezone=timezone, inputs=inputs)

    def webhook(self, shape: WebhookShape, path: Path) -> OutsideTrigger:
        """A webhook, of a trigger or (1.0) of the file."""
        secrets = (shape.secret,) if isinstance(shape.secret, str) else tuple(shape.secret or ())
        return OutsideTrigger(
            kind="webhook",
            secrets=secrets,
            inputs=self._inputs(shape.input, "body", (*path, "input")),
            takes_members=shape.input is None,
            defaults=self._defaults(shape.default_inputs, (*path, "default_inputs")),
            notify=shape.notify or "",
            enabled=shape.enabled is not False,
        )

    def _message(
        self, kind: str, connection: str, shape: MessageShape, path: Path
    ) -> OutsideTrigger:
        self._check_field(shape.reply, (*path, "reply"))
        given = shape.input
        if given is None and _MESSAGE_FIELD in self.declared:
            given = _MESSAGE_FIELD
        return OutsideTrigger(
            kind=kind,
            connection=connection,
            inputs=self._inputs(given, "text", (*path, "input")),
            reply=shape.reply or "",
            command=(shape.command or "") if isinstance(shape, SlackShape) else "",
        )

    def _inputs(
        self, given: str | Mapping[str, Any] | None, whole: str, path: Path
    ) -> Mapping[str, Template]:
        """The templates by field; a field alone takes all that came, a message's text or a request's body."""
        match given:
            case None:
                return {}
            case str():
                self._check_whole(given, whole, path)
                reference = Reference(name=whole, of_inputs=True)
                return {given: TextTemplate(pieces=(reference,))}
        compiler = Compiler(names=Names(state={}, inputs=CONTENT), report=self.report)
        for name in given:
            self._check_field(name, (*path, name))
        return {name: compiler.value(value, (*path, name))[0] for name, value in given.items()}

    def _check_whole(self, name: str, whole: str, path: Path) -> None:
        self._check_field(name, path)
        field = self.declared.get(name)
        text_only = whole == "text" and field is not None
        if text_only and field and not isinstance(bare(field.type), (Text, Anything)):
            self.report.error(
                "TYPE_MISMATCH",
                path,
                f"a message is text, and {shown(field.name)} is of type {field.type.text}",
                "name a field of type str",
            )

    def _check_field(self, name: str | None, path: Path) -> None:
        if name is not None and name not in self.declared:
            self.report.error(
                "UNKNOWN_STATE_FIELD",
                path,
                f"{shown(name)} is not a state field",
                self.report.did_you_mean(name, self.declared, "declare it under state.fields"),
            )

    def _defaults(self, values: Mapping[str, Any] | None, path: Path) -> Mapping[str, Any]:
        check_values(values or {}, self.declared, path, self.report)
        return values or {}


def _is_timezone(name: str) -> bool:
    try:
        ZoneInfo(name)
    except (ZoneInfoNotFoundError, ValueError, OSError):
        return False
    return True
