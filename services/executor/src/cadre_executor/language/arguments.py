"""Holds values against the JSON Schemas of tools: literal values in full, the rest by their type."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from jsonschema import Draft202012Validator
from jsonschema.exceptions import ValidationError

from cadre_executor.domain.workflows import Template
from cadre_executor.language.positions import Path
from cadre_executor.language.reports import Report, shown
from cadre_executor.language.templates import literal
from cadre_executor.language.types import (
    Anything,
    Boolean,
    DictOf,
    Integer,
    ListOf,
    Number,
    ObjectOf,
    Type,
    bare,
)

_MAX_PROBLEMS = 10


@dataclass(frozen=True, kw_only=True)
class ValueChecker:
    """Reports, under one code, what does not fit. `what` says what the members are: `argument of web_search`."""

    report: Report
    code: str
    what: str

    def whole(self, values: Mapping[str, Any], schema: Mapping[str, Any], path: Path) -> None:
        """Checks a mapping of plain values."""
        self._check_names(values, schema, path)
        for name, value in values.items():
            if name in schema["properties"]:
                self._check_value(value, schema["properties"][name], name, (*path, name))
        if not Draft202012Validator({"oneOf": schema.get("oneOf", [{}])}).is_valid(dict(values)):
            options = " or ".join(f"`{option['required'][0]}`" for option in schema["oneOf"])
            self._refuse(path, f"the {self.what} needs either {options}", "give one of them")

    def members(
        self,
        templates: Mapping[str, tuple[Template, Type]],
        schema: Mapping[str, Any],
        path: Path,
    ) -> None:
        """Checks a mapping of templates: those that name nothing by their value, the others by their type."""
        self._check_names(templates, schema, path)
        for name, (template, type_) in templates.items():
            if name not in schema["properties"]:
                continue
            expected = schema["properties"][name]
            if (known := literal(template)) is not None:
                self._check_value(known.value, expected, name, (*path, name))
            elif not _may_fit(type_, expected.get("type")):
                self._refuse(
                    (*path, name),
                    f"the {self.what} {shown(name)} is of type {expected['type']}, not {type_.text}",
                    str(expected.get("description", "")),
                )

    def _check_names(self, given: Mapping[str, Any], schema: Mapping[str, Any], path: Path) -> None:
        known = schema["properties"]
        for name in given:
            if name not in known:
                self.report.error(
                    self.code,
                    (*path, name),
                    f"there is no {self.what} called {shown(name)}",
                    self.report.did_you_mean(name, known, "" if known else "it takes none"),
                    at_key=True,
                )
        for name in schema.get("required", ()):
            if name not in given:
                about = str(known[name].get("description", "")).rstrip(".")
                self._refuse(
                    (*path, name),
                    f"the {self.what} {shown(name)} is missing",
                    f"add `{name}:` ({about})",
                )

    def _check_value(self, value: object, schema: Any, name: str, path: Path) -> None:
        found = Draft202012Validator(schema).iter_errors(value)
        for _, error in zip(range(_MAX_PROBLEMS), found, strict=False):
            self._refuse(
                (*path, *error.absolute_path),
                f"the {self.what} {shown(name)} {_reason(error)}",
                str(schema.get("description", "")),
            )

    def _refuse(self, path: Path, message: str, resolution: str) -> None:
        self.report.error(self.code, path, message, resolution)


def _reason(error: ValidationError) -> str:
    """What is wrong, without the value: it may be long, or not meant to be read."""
    match error.validator:
        case "type":
            wanted = error.validator_value
            names = wanted if isinstance(wanted, list) else [wanted]
            return f"must be of type {' or '.join(map(str, names))}"
        case "enum" if isinstance(error.validator_value, list):
            return f"must be one of {', '.join(str(each) for each in error.validator_value)}"
        case "minimum" | "exclusiveMinimum":
            return f"must be at least {error.validator_value}"
        case "maximum" | "exclusiveMaximum":
            return f"must be at most {error.validator_value}"
        case "minLength" | "minItems":
            return "must not be empty"
        case "maxLength" | "maxItems" | "maxProperties":
            return f"must have at most {error.validator_value} entries or characters"
    return "does not fit the tool's schema"


def _may_fit(type_: Type, expected: str | list[str] | None) -> bool:
    """Whether values of a type may be of one of JSON Schema's types."""
    of = bare(type_)
    if expected is None or isinstance(of, Anything):
        return True
    wanted = {expected} if isinstance(expected, str) else set(expected)
    match of:
        case Boolean():
            return "boolean" in wanted
        case Integer():
            return bool(wanted & {"integer", "number"})
        case Number():
            return bool(wanted & {"number", "integer"})
        case ListOf():
            return "array" in wanted
        case DictOf() | ObjectOf():
            return "object" in wanted
    return "string" in wanted
