"""The JSON in a request's body."""

import json

from pydantic import JsonValue, TypeAdapter, ValidationError

from cadre_gateway.entrypoint.documents import Document
from cadre_gateway.entrypoint.errors import InvalidRequest

__all__ = ["json_body"]

_DOCUMENT: TypeAdapter[JsonValue] = TypeAdapter(Document)


def json_body(body: bytes) -> JsonValue:
    """The document. Raises InvalidRequest for what is none, or nested more than 100 deep."""
    try:
        return _DOCUMENT.validate_python(json.loads(body))
    except (ValidationError, ValueError, RecursionError) as exc:
        raise InvalidRequest(
            "the delivery's body is not JSON",
            resolution="Send a JSON document, nested at most 100 deep.",
            code="BODY_NOT_JSON",
        ) from exc
