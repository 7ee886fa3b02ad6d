from aerostack_realtime.sdk.heartbeat import Heartbeat


class Clock:
    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        return self.now


def test_a_ping_is_due_after_an_interval_of_silence() -> None:
    clock = Clock()
    heartbeat = Heartbeat(25, clock)
    assert heartbeat.deadline == 125
    clock.now = 124.9
    assert heartbeat.due() == "nothing"
    clock.now = 125
    assert heartbeat.due() == "ping"


def test_a_client_that_only_listens_pings_too() -> None:
    clock = Clock()
    heartbeat = Heartbeat(25, clock)
    clock.now = 125
    heartbeat.received()
    assert heartbeat.due() == "ping"


def test_traffic_both_ways_needs_no_ping() -> None:
    clock = Clock()
    heartbeat = Heartbeat(25, clock)
    clock.now = 120
    heartbeat.received()
    heartbeat.sent()
    clock.now = 130
    assert heartbeat.due() == "nothing"
    assert heartbeat.deadline == 145


def test_an_unanswered_ping_gives_the_connection_up() -> None:
    clock = Clock()
    heartbeat = Heartbeat(25, clock)
    clock.now = 125
    heartbeat.pinged()
    clock.now = 149
    assert heartbeat.due() == "nothing"
    clock.now = 150
    assert heartbeat.due() == "time out"


def test_anything_heard_answers_the_ping() -> None:
    clock = Clock()
    heartbeat = Heartbeat(25, clock)
    clock.now = 125
    heartbeat.pinged()
    clock.now = 126
    heartbeat.received()
    clock.now = 149
    assert heartbeat.due() == "nothing"
    clock.now = 150
    assert heartbeat.due() == "ping"


def test_sending_does_not_hide_that_nothing_arrives() -> None:
    clock = Clock()
    heartbeat = Heartbeat(25, clock)
    clock.now = 125
    heartbeat.pinged()
    clock.now = 150
    heartbeat.sent()
    assert heartbeat.due() == "time out"
