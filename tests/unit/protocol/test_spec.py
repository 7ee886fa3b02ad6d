"""The example frames of spec/: what stands there is understood, and written back as it stands."""

from pathlib import Path
from typing import Any

import msgspec
import pytest

from aerostack_realtime.protocol import messages, topics
from aerostack_realtime.protocol.errors import InvalidTopic

SPEC = Path(__file__).parents[3] / "spec"


def examples(name: str) -> list[Any]:
    return [
        pytest.param(each, id=each["name"])
        for each in msgspec.json.decode((SPEC / name).read_bytes(), type=list[dict[str, Any]])
    ]


@pytest.mark.parametrize("example", examples("topics.json"))
def test_a_topic_has_the_canonical_form_of_the_example(example: dict[str, str]) -> None:
    if "error" in example:
        with pytest.raises(InvalidTopic):
            topics.canonical(example["written"], example["project"])
    else:
        assert topics.canonical(example["written"], example["project"]) == example["canonical"]


@pytest.mark.parametrize("example", examples("client-frames.json"))
def test_a_command_is_understood(example: dict[str, Any]) -> None:
    command = messages.decode_command(msgspec.json.encode(example["frame"]))
    written = msgspec.json.decode(messages.encode(command))
    assert {key: written[key] for key in example["frame"]} == example["frame"]


@pytest.mark.parametrize("example", examples("server-frames.json"))
def test_a_reply_is_written_as_in_the_example(example: dict[str, Any]) -> None:
    reply = messages.decode_reply(msgspec.json.encode(example["frame"]))
    assert reply is not None
    assert msgspec.json.decode(messages.encode(reply)) == example["frame"]


def test_every_type_has_an_example() -> None:
    for name, types in (
        ("client-frames.json", messages.COMMAND_TYPES),
        ("server-frames.json", messages.REPLY_TYPES),
    ):
        shown = {each.values[0]["frame"]["type"] for each in examples(name)}
        assert shown >= types
