"""The sub-protocol that is answered: a browser closes a socket on which none is."""

import pytest

from aerostack_realtime.gateway.websocket.endpoint import select


@pytest.mark.parametrize(
    ("offered", "selected"),
    [
        ([], None),
        (["aerostack-v1"], "aerostack-v1"),
        (["aerostack-key.k", "aerostack-token.t", "aerostack-v1"], "aerostack-v1"),
        (["aerostack-key.k", "other"], "other"),
        (["aerostack-key.k", "aerostack-token.t"], "aerostack-key.k"),
    ],
)
def test_ours_else_one_without_a_credential_else_the_first(offered: list[str], selected: str | None) -> None:
    assert select(offered) == selected
