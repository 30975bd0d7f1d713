"""What starts runs of a workflow by itself, as its file says it."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, TypeAlias

from cadre_executor.domain.workflows import Scope, Template
from cadre_kit.errors import CadreError, InvalidInput, Kind, NotFound

__all__ = ["CronTrigger", "OutsideTrigger", "Trigger", "TriggerNotFound"]


class TriggerNotFound(NotFound):
    """The version of the workflow has no such trigger, or none that something outside can start."""

    code = "TRIGGER_NOT_FOUND"


class BodyNotAnObject(InvalidInput):
    """What came has no members, which are to be the run's inputs."""

    code = "BODY_NOT_AN_OBJECT"

    def __init__(self) -> None:
        super().__init__(
            "the body is not a JSON object, whose members are the run's inputs",
            resolution="Send an object by state field, or name `input` in the trigger.",
        )


@dataclass(frozen=True, kw_only=True)
class CronTrigger:
    """Starts a run with `inputs` at the times of a cron expression of five fields, in an IANA time zone."""

    cron: str
    timezone: str = "UTC"
    inputs: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, kw_only=True)
class OutsideTrigger:
    """Starts a run when a request or a message comes.

    `kind` is that of the gateway's connector, `connection` the app, bot or number that it comes to. `secrets` name the
    environment variables of its secrets, newest first. `inputs` are templates by state field, over what came; without
    any, a body's members go into the fields of their names if `takes_members`. `defaults` are what that does not give.
    When the run has ended, the field `reply` is sent back, and `notify` is told; empty for neither.
    """

    kind: str
    connection: str = ""
    secrets: tuple[str, ...] = ()
    inputs: Mapping[str, Template] = field(default_factory=dict)
    takes_members: bool = False
    defaults: Mapping[str, Any] = field(default_factory=dict)
    reply: str = ""
    notify: str = ""
    command: str = ""
    enabled: bool = True

    def inputs_from(self, content: Mapping[str, Any]) -> Mapping[str, Any]:
        """The inputs that something that came makes. Raises what a template says of a part that is not there, unless
        there is a default for it."""
        body = content.get("body")
        members: dict[str, Any] = {}
        if self.takes_members:
            if not isinstance(body, dict):
                raise BodyNotAnObject
            members.update(body)
        scope = Scope(state={}, inputs=content)
        for name, template in self.inputs.items():
            try:
                members[name] = template.resolve(scope)
            except CadreError as error:
                if error.kind is not Kind.FAILED_PRECONDITION or name not in self.defaults:
                    raise
        return {**self.defaults, **members}


Trigger: TypeAlias = CronTrigger | OutsideTrigger
