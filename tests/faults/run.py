"""One run of the suite: a stage, a nemesis on it, and the checker over what everyone recorded."""

import asyncio
import gc
import shutil
import tempfile
import time
import traceback
from collections import Counter
from pathlib import Path

import msgspec
from msgspec import Struct, field

from aerostack_realtime.protocol.errors import AerostackError
from aerostack_realtime.sdk.aerostack import Aerostack
from tests.faults.checker import check_members, check_table, check_topic
from tests.faults.child import END, STEADY, TOPICS
from tests.faults.history import Anomaly, Message
from tests.faults.journal import records
from tests.faults.nemesis import Nemesis
from tests.faults.plan import FAULTS, DatabaseKind, FaultKind, of_database, plan
from tests.faults.recorded import LIVE_SHOWN, SHOWN, Records, UnknownEpoch
from tests.faults.stage import Stage, Stuck

PAGE = 1_000


class Options(Struct, frozen=True):
    """What is asked of a run: it ends after `faults` or `seconds`, whatever comes first.

    `published` and `written`: messages per second of each publisher and row changes per second of all writers,
    0 for as fast as it goes. `pause`: events between two faults, in the mean. `source`: where the server's
    package is taken from, None for the installed one. `keep`: leave the records where they are. `nodes`: how many
    servers share the database, on a Redis that Sentinels watch if `sentinel`, each on a host of its own if
    `namespaces`. `plant`: the bug that they get. `overlap`: other faults follow while a node starts again.
    """

    seed: int
    faults: int
    seconds: float
    published: float = 200.0
    written: float = 1_000.0
    database: DatabaseKind = "sqlite"
    pause: float = 1_500.0
    megabytes: int = 3_000
    source: Path | None = None
    keep: bool = False
    kinds: frozenset[FaultKind] = frozenset(FAULTS)
    nodes: int = 1
    sentinel: bool = False
    namespaces: bool = False
    plant: str = ""
    overlap: bool = False


class Result(Struct):
    """What a run came to."""

    options: Options
    seconds: float = 0.0
    faults: Counter[FaultKind] = field(default_factory=Counter)
    not_run: list[str] = field(default_factory=list)
    messages: int = 0
    changes: int = 0
    handled: int = 0
    gaps: int = 0
    anomalies: list[Anomaly] = field(default_factory=list)
    place: Path = Path()


async def run(options: Options) -> Result:
    """Carry out one run, and check it."""
    place = _place()
    stage = _stage(options, place)
    result = Result(options, place=place)
    stored: dict[str, list[Message]] = {}
    states: dict[str, tuple[dict[str, object], dict[str, object]]] = {}
    began = time.monotonic()
    try:
        await stage.open()
        nemesis = Nemesis(stage, overlap=options.overlap)
        kinds = nemesis.possible() & options.kinds
        result.not_run = sorted((options.kinds & _kinds(options)) - kinds)
        try:
            await nemesis.rage(
                plan(options.seed, kinds, options.pause, options.nodes),
                options.faults,
                asyncio.get_running_loop().time() + options.seconds,
            )
            await stage.settle()
            async with stage.sdk() as sdk:
                stored = {name: await _history(sdk, topic) for name, topic in TOPICS.items()}
            shows = msgspec.json.decode((place / "live.rows").read_bytes())
            states["live"] = (shows, await stage.rows(LIVE_SHOWN))
            result.anomalies += check_members(
                {name: msgspec.json.decode((place / f"{name}.members").read_bytes()) for name in SHOWN},
                stage.present(),
            )
        except (Stuck, AerostackError, AssertionError, TimeoutError) as error:
            result.anomalies.append(Anomaly("stuck", "the run", str(error) or _origin(error)))
        result.faults = nemesis.done
        result.anomalies += [
            Anomaly("crashed", server.name, crash) for server in stage.nodes for crash in server.crashes
        ]
        await stage.dismiss()
        stage.vault.note_epochs()
        stage.vault.write_truth()
    finally:
        await stage.close()
    result.seconds = time.monotonic() - began
    _check(result, place, stored, states)
    result.anomalies += [
        Anomaly("flicker", name, f"{STEADY} seemed to leave at {found[0][0]}", len(found))
        for name in SHOWN
        if (found := list(records(place / f"{name}.flickers")))
    ]
    if any(each.kind == "stuck" for each in result.anomalies):  # what was under way is missing, of course
        result.anomalies = [each for each in result.anomalies if each.kind not in ("lost", "unreported gap")]
    if not (options.keep or result.anomalies):
        shutil.rmtree(place)
    return result


def _stage(options: Options, place: Path) -> Stage:
    return Stage(
        place,
        options.seed,
        options.database,
        source=options.source,
        rates=(options.published, options.written),
        megabytes=options.megabytes,
        nodes=options.nodes,
        sentinel=options.sentinel,
        namespaces=options.namespaces,
        plant=options.plant,
    )


def _kinds(options: Options) -> frozenset[FaultKind]:
    return of_database(options.database, options.nodes, sentinel=options.sentinel, hosts=options.namespaces)


def _place() -> Path:
    """A directory that PostgreSQL may look into, too: it does not run as root."""
    place = Path(tempfile.mkdtemp(prefix="faults-"))
    place.chmod(0o755)
    return place


def _origin(error: BaseException) -> str:
    """The line of the suite at which an error without a message was raised."""
    ours = [each for each in traceback.extract_tb(error.__traceback__) if "/tests/" in each.filename]
    return f"{type(error).__name__} at {ours[-1].filename}:{ours[-1].lineno}"


def _check(
    result: Result,
    place: Path,
    stored: dict[str, list[Message]],
    states: dict[str, tuple[dict[str, object], dict[str, object]]],
) -> None:
    gc.disable()  # millions of records, none of them in a cycle
    try:
        _check_records(result, Records(place), stored, states)
    except UnknownEpoch as error:
        result.anomalies.append(Anomaly("phantom", "the epochs", f"{error} was begun by nobody"))
    gc.enable()


def _check_records(
    result: Result,
    records: Records,
    stored: dict[str, list[Message]],
    states: dict[str, tuple[dict[str, object], dict[str, object]]],
) -> None:
    for name in TOPICS:
        history = records.topic(name)
        history.stored = stored.get(name)
        history.is_clustered = result.options.nodes > 1
        result.messages += len(history.acknowledged)
        result.handled += sum(map(len, history.handled.values()))
        result.gaps += sum(each.what is None for handled in history.handled.values() for each in handled)
        result.anomalies += check_topic(history)
    table = records.table()
    table.states = states
    result.changes = records.acknowledged_changes(table)
    result.handled += records.handled_changes()
    result.anomalies += check_table(table)


async def _history(sdk: Aerostack, topic: str) -> list[Message]:
    """All stored messages of a topic, oldest first."""
    found: list[Message] = []
    before: int | None = None
    while page := await sdk.realtime.history(topic, PAGE, before):
        found += [Message(*each.data) for each in page if each.event != END]
        before = page[-1].created_at
    return found[::-1]
