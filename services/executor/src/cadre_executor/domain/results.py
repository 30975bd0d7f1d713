"""What actions give, before it is checked."""

from dataclasses import dataclass
from enum import Enum
from typing import Any

__all__ = ["Form", "Result"]


class Form(Enum):
    """What a result's value is: the value itself; text that may say it in JSON; text that must be a JSON document; a
    JSON document whose member `value` it is."""

    VALUE = "value"
    TEXT = "text"
    DOCUMENT = "document"
    MEMBER = "member"


@dataclass(frozen=True, kw_only=True)
class Result:
    """What an action gave. `complete` is false for a reply that was cut off."""

    value: Any
    form: Form = Form.VALUE
    complete: bool = True
