"""The shape of a file's names, types and state, on which the shapes of nodes and of the whole file build.

The published JSON Schema is made of these. Every key says what it holds: editors show it, and problems quote it.
"""

from decimal import Decimal
from functools import cache
from typing import Annotated, Any, Literal, get_args

from pydantic import (
    BaseModel,
    ConfigDict,
    Discriminator,
    Field,
    Tag,
    ValidationInfo,
    field_validator,
)
from pydantic_core import PydanticKnownError

SHORT = "<short>"
LONG = "<long>"
"""Name the branches of a union in pydantic's locations; no key of a file can be mistaken for one."""

MAX_FIELDS = 500


def form_of(value: Any) -> str:
    """The branch of a union of something short with a mapping."""
    return LONG if isinstance(value, (dict, BaseModel)) else SHORT


def list_form_of(value: Any) -> str:
    """The branch of a union of something short with a list."""
    return LONG if isinstance(value, list) else SHORT


OneOrMore = Annotated[
    Annotated[str, Tag(SHORT)] | Annotated[list[str], Tag(LONG)], Discriminator(list_form_of)
]


class Shape(BaseModel):
    """A mapping of the file; other keys than its own are refused."""

    model_config = ConfigDict(extra="forbid", frozen=True, populate_by_name=True)

    @field_validator("*", mode="before")
    @classmethod
    def _takes_no_truth_for_a_number(cls, value: Any, info: ValidationInfo) -> Any:
        """Pydantic takes `true` for 1, which nobody means."""
        if isinstance(value, bool) and info.field_name in _number_fields(cls):
            raise PydanticKnownError("float_type")
        return value


@cache
def _number_fields(shape: type[Shape]) -> frozenset[str]:
    """The fields that hold a number and nothing else."""
    return frozenset(
        name
        for name, field in shape.model_fields.items()
        if {int, float, Decimal}.intersection(get_args(field.annotation) or (field.annotation,))
    )


class FlowShape(Shape):
    """What the workflow is."""

    name: str = Field(
        min_length=1,
        max_length=100,
        description="Names the workflow: letters, digits, _ and -.",
        examples=["triage"],
    )
    description: str | None = Field(None, description="What it does.")
    version: str | None = Field(
        None, coerce_numbers_to_str=True, description="The author's own version, kept as written."
    )
    tags: list[str] | None = Field(None, max_length=50, description="Words to find it by.")
    author: str | None = Field(None, description="Who wrote it.")


class LimitsShape(Shape):
    """What a value must keep to."""

    enum: list[Any] | None = Field(None, max_length=500, description="The only values allowed.")
    min: float | None = Field(None, description="The least number allowed.")
    max: float | None = Field(None, description="The greatest number allowed.")
    min_length: int | None = Field(None, ge=0, description="The fewest characters or items.")
    max_length: int | None = Field(None, ge=0, description="The most characters or items.")
    pattern: str | None = Field(
        None,
        max_length=1000,
        description="A regular expression found somewhere in the text; no look-around.",
    )


_TYPE = "str, int, float, bool, any, list, dict, list[T], dict[K, V], object (with its fields), or T | null."


class FieldShape(LimitsShape):
    """A field of the state, or of an object."""

    type: str = Field(description=_TYPE, examples=["str", "int", "list[str]", "str | null"])
    required: bool | None = Field(
        None, description="A run is refused without it. Not together with default."
    )
    default: Any = Field(None, description="Its value when none is given.")
    description: str | None = Field(None, description="What it holds.")
    schema_: "dict[str, FieldForm] | None" = Field(
        None,
        alias="schema",
        max_length=MAX_FIELDS,
        description="The fields of `object` in its type, by name.",
    )


FieldForm = Annotated[
    Annotated[str, Tag(SHORT)] | Annotated[FieldShape, Tag(LONG)], Discriminator(form_of)
]
"""Short: the type alone. Long: a mapping."""


class StateFieldShape(FieldShape):
    """A field of the state."""

    reducer: Literal["replace", "append", "merge", "sum", "min", "max"] | None = Field(
        None, description="How writes of parallel branches combine. Default replace."
    )


StateFieldForm = Annotated[
    Annotated[str, Tag(SHORT)] | Annotated[StateFieldShape, Tag(LONG)], Discriminator(form_of)
]


class StateShape(Shape):
    """What the workflow's nodes read and write."""

    fields: dict[str, StateFieldForm] = Field(
        default_factory=dict,
        max_length=MAX_FIELDS,
        description="The fields, by name. The run's inputs and outputs are fields too.",
    )


class OutputFieldShape(LimitsShape):
    """A field of a node's result."""

    name: str = Field(min_length=1, max_length=100, description="The field's name.")
    type: str = Field(description=_TYPE)
    required: bool | None = Field(
        None, description="Whether it must be there; when false it may be null. Default true."
    )
    description: str | None = Field(None, description="What it holds; models read this.")
    schema_: dict[str, FieldForm] | None = Field(
        None,
        alias="schema",
        max_length=MAX_FIELDS,
        description="The fields of `object` in its type.",
    )
    items: "OutputForm | None" = Field(None, description="For type array: what its items are.")


class OutputShape(LimitsShape):
    """What a node's result must be."""

    type: str = Field(description=_TYPE, examples=["str", "object"])
    fields: list[OutputFieldShape] | None = Field(
        None, max_length=MAX_FIELDS, description="For type object: its fields."
    )
    schema_: dict[str, FieldForm] | None = Field(
        None,
        alias="schema",
        max_length=MAX_FIELDS,
        description="For type object: its fields, by name.",
    )
    items: "OutputForm | None" = Field(None, description="For type array: what its items are.")
    description: str | None = Field(None, description="What it is; models read this.")


OutputForm = Annotated[
    Annotated[str, Tag(SHORT)] | Annotated[OutputShape, Tag(LONG)], Discriminator(form_of)
]
