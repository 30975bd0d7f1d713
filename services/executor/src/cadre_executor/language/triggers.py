"""Compiles what starts runs by itself."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from croniter import croniter  # type: ignore[import-untyped]  # it ships no annotations

from cadre_executor.domain.triggers import (
    CronTrigger,
    TelegramTrigger,
    Trigger,
    WebhookTrigger,
    WhatsAppTrigger,
)
from cadre_executor.language.file_shapes import (
    FileShape,
    TelegramShape,
    TriggerShape,
    WebhookShape,
    WhatsAppShape,
)
from cadre_executor.language.inputs import check_values
from cadre_executor.language.positions import Path
from cadre_executor.language.reports import Report, shown
from cadre_executor.language.states import DeclaredField
from cadre_executor.language.types import Anything, Text, bare

_KINDS = ("cron", "webhook", "telegram", "whatsapp")
_CRON_FIELDS = 5


def compile_triggers(
    file: FileShape, declared: Mapping[str, DeclaredField], report: Report
) -> tuple[Trigger, ...]:
    """The triggers, checked; that nothing acts on them yet is noted."""
    compiler = _TriggerCompiler(declared=declared, report=report)
    found = [
        trigger
        for index, shape in enumerate(file.triggers or ())
        for trigger in compiler.triggers(shape, ("triggers", index))
    ]
    if file.webhook is not None:
        found.append(compiler.webhook(file.webhook, ("webhook",)))
    for key in ("triggers", "webhook"):
        if getattr(file, key):
            report.note(
                "NO_EFFECT",
                (key,),
                f"`{key}` has no effect",
                "start runs with `cadre run`, a schedule (`cadre deploy`) or POST /hooks/<workflow>",
                at_key=True,
            )
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
        if shape.telegram is not None:
            self._message(shape.telegram, (*path, "telegram"))
            yield TelegramTrigger(
                bot=shape.telegram.bot,
                input=shape.telegram.input or "",
                reply=shape.telegram.reply or "",
            )
        if shape.whatsapp is not None:
            self._message(shape.whatsapp, (*path, "whatsapp"))
            yield WhatsAppTrigger(
                number=shape.whatsapp.number,
                input=shape.whatsapp.input or "",
                reply=shape.whatsapp.reply or "",
            )

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
        inputs = self._inputs(shape.inputs, (*path, "inputs"))
        return CronTrigger(cron=cron, timezone=timezone, inputs=inputs)

    def webhook(self, shape: WebhookShape, path: Path) -> WebhookTrigger:
        """A webhook, of a trigger or (1.0) of the file."""
        self._check_field(shape.input, (*path, "input"))
        return WebhookTrigger(
            secret_env=shape.secret or "",
            input=shape.input or "",
            inputs=self._inputs(shape.default_inputs, (*path, "default_inputs")),
            enabled=shape.enabled is not False,
        )

    def _message(self, shape: TelegramShape | WhatsAppShape, path: Path) -> None:
        self._check_field(shape.reply, (*path, "reply"))
        self._check_field(shape.input, (*path, "input"))
        field = self.declared.get(shape.input or "")
        if field is not None and not isinstance(bare(field.type), (Text, Anything)):
            self.report.error(
                "TYPE_MISMATCH",
                (*path, "input"),
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

    def _inputs(self, values: Mapping[str, Any] | None, path: Path) -> Mapping[str, Any]:
        check_values(values or {}, self.declared, path, self.report)
        return values or {}


def _is_timezone(name: str) -> bool:
    try:
        ZoneInfo(name)
    except (ZoneInfoNotFoundError, ValueError, OSError):
        return False
    return True
