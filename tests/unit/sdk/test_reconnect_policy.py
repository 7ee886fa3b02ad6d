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
    Verdict,
    error_of,
    error_of_close,
    error_of_status,
    verdict_of_close,
    verdict_of_status,
)


@pytest.mark.parametrize(
    ("code", "verdict"),
    [
        (None, "retry"),
        (1000, "retry"),
        (1001, "retry"),
        (1006, "retry"),
        (1012, "retry"),
        (4000, "retry"),
        (4001, "retry"),
        (4400, "stop"),
        (4401, "renew"),
        (4403, "stop"),
        (4408, "stop"),
        (4429, "retry late"),
        (4499, "stop"),
        (4500, "retry"),
    ],
)
def test_a_close_code_says_whether_to_return(code: int | None, verdict: Verdict) -> None:
    assert verdict_of_close(code) == verdict


@pytest.mark.parametrize(
    ("status", "verdict"),
    [(401, "renew"), (403, "stop"), (404, "stop"), (429, "retry late"), (500, "retry"), (503, "retry")],
)
def test_a_refused_upgrade_says_whether_to_return(status: int, verdict: Verdict) -> None:
    assert verdict_of_status(status) == verdict


@pytest.mark.parametrize(
    ("code", "error"),
    [
        (4400, BadMessage),
        (4401, Unauthorized),
        (4403, Forbidden),
        (4408, Unauthorized),
        (4429, RateLimited),
        (4410, Forbidden),
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
