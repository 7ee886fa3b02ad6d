"""Writers that wait for the commit of an opening: the one that opened a stream, and those that opened it again."""

from collections.abc import Callable

from aerostack_realtime.channels.custom.holds import HoldQueues
from aerostack_realtime.channels.outcome import Done, Outcome
from aerostack_realtime.protocol.errors import AerostackError, Unavailable

Answer = Callable[[], Outcome | AerostackError]


class StreamOpenings:
    """Openings of persisted streams by their positions."""

    def __init__(self, holds: HoldQueues) -> None:
        self._holds = holds
        holds.dropped = lambda position: self.settled(position, None)
        self._answers: dict[int, tuple[Done, Answer]] = {}
        self._repeats: dict[int, list[Done]] = {}

    def answer_later(self, position: int, done: Done, answer: Answer) -> None:
        """The opening was not stored as a new stream: its writer is answered when that is settled."""
        self._answers[position] = done, answer

    def wait(self, position: int, done: Done) -> bool:
        """Whether another opening of the same stream has to wait for the commit of the first one."""
        if not self._holds.is_unsettled(position):
            return False
        self._repeats.setdefault(position, []).append(done)
        return True

    def settled(self, position: int, stored: Callable[[Done], None] | None) -> None:
        """Answer all that wait. `stored` answers a repeat when the opening was stored; None: it was not, and
        repeats are answered as the first one, if that was on this node."""
        answer: Answer = _not_stored
        if position in self._answers:
            done, answer = self._answers.pop(position)
            done(answer())
        for done in self._repeats.pop(position, ()):
            if stored is not None:
                stored(done)
            else:
                done(answer())


def _not_stored() -> AerostackError:
    return Unavailable("The opening of the stream could not be stored; open it again.")
