"""The backplane of a single node: what is published is delivered at once."""

from aerostack_realtime.backplane.base import Accepted, Deliver


class MemoryBackplane:
    """See backplane.base.Backplane."""

    def __init__(self, deliver: Deliver) -> None:
        self._deliver = deliver

    def publish(self, event: Accepted) -> None:
        self._deliver(event)
