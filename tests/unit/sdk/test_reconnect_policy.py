import pytest

from aerostack_realtime.protocol.errors import (
    AerostackError,
    BadMessage,
    Forbidden,
    Internal,
    NotFound,
    RateLimited,
    Unauthorized,
    Unavailable,
)
from aerostack_realtime.sdk.reconnect_policy import (
    NextStep,
    error_of,
    error_of_close,
    error_of_status,
    next_step_of_close,
    next_step_of_status,
)


@pytest.mark.parametrize(
    ("code", "step"),
    [
        (None, "reconnect"),
        (1000, "reconnect"),
        (1001, "reconnect"),
        (1006, "reconnect"),
        (1012, "reconnect"),
        (4000, "reconnect"),
        (4001, "reconnect"),
        (4400, "stop"),
        (4401, "renew token"),
        (4403, "stop"),
        (4408, "stop"),
        (4429, "reconnect late"),
        (4399, "reconnect"),
        (4499, "stop"),
        (4500, "stop"),
        (4899, "stop"),
        (4900, "reconnect"),
        (4999, "reconnect"),
    ],
)
def test_the_range_of_a_close_code_decides_the_next_step(code: int | None, step: NextStep) -> None:
    assert next_step_of_close(code) == step


@pytest.mark.parametrize(
    ("status", "step"),
    [
        (401, "renew token"),
        (403, "stop"),
        (404, "stop"),
        (429, "reconnect late"),
        (500, "reconnect"),
        (503, "reconnect"),
    ],
)
def test_the_status_of_a_refused_upgrade_decides_the_next_step(status: int, step: NextStep) -> None:
    assert next_step_of_status(status) == step


@pytest.mark.parametrize(
    ("code", "error"),
    [
        (4400, BadMessage),
        (4401, Unauthorized),
        (4403, Forbidden),
        (4408, Unauthorized),
        (4429, RateLimited),
        (4410, Forbidden),
        (4777, Forbidden),
        (1006, Unavailable),
    ],
)
def test_a_final_close_is_a_typed_error(code: int, error: type[AerostackError]) -> None:
    assert type(error_of_close(code, "because")) is error
    assert "because" in error_of_close(code, "because").message


def test_a_code_of_the_protocol_is_its_error() -> None:
    error = error_of("not_found", "There is no table 'x'.")
    assert type(error) is NotFound
    assert error.message == "There is no table 'x'."


def test_an_unknown_code_keeps_its_name_in_the_message() -> None:
    error = error_of("teapot", "short and stout")
    assert type(error) is Internal
    assert error.message == "teapot: short and stout"


def test_a_status_without_a_code_is_an_error_too() -> None:
    assert type(error_of_status(502, "bad gateway")) is Unavailable
    assert type(error_of_status(418, "teapot")) is Internal
