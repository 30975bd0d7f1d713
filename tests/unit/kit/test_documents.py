"""JSON documents as the protos carry them."""

import pytest

from cadre.common.v1 import common_pb2
from cadre_kit.documents import NotJson, from_json


@pytest.mark.parametrize(
    "text", ["NaN", '{"a": [-Infinity]}', "[1e999]", "", "{", "[" * 100_000, "1" * 5_000]
)
def test_what_is_not_json_is_refused_by_the_name_of_its_field(text: str) -> None:
    with pytest.raises(NotJson) as caught:
        from_json(common_pb2.Json(text=text), field="value")

    assert caught.value.message.startswith("value is not a JSON document")
    assert caught.value.metadata == {"field": "value"}
