"""Documents: the server keeps them short, and programs read and edit them."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import TYPE_CHECKING, Any

import pycrdt
import pytest

from aerostack_realtime import Aerostack
from aerostack_realtime.blocking import Aerostack as BlockingAerostack
from aerostack_realtime.documents.compactor import FEWEST
from aerostack_realtime.protocol import documents
from aerostack_realtime.protocol.errors import Forbidden
from aerostack_realtime.sdk.document import CorruptDocument, Document
from tests.flow.calls import Http
from tests.flow.compaction import until_compacted
from tests.flow.test_metrics import figures
from tests.flow.wire import PATIENCE_SECONDS, Dial

if TYPE_CHECKING:
    from tests.flow.conftest import ServerProcess

Serve = Callable[[str], Awaitable["ServerProcess"]]
Calls = Callable[["ServerProcess"], Http]
SETTINGS = """anonymous = true
[[documents]]
topic = "docs/{id}"
compact_bytes = 20_000
idle = "1s"
"""
POLL_SECONDS = 0.05


@pytest.fixture
async def connect() -> AsyncIterator[Callable[..., Aerostack]]:
    opened: list[Aerostack] = []

    def made(node: "ServerProcess", **settings: Any) -> Aerostack:
        opened.append(Aerostack(node.url, **({"api_key": node.secret_key} | settings)))
        return opened[-1]

    yield made
    for sdk in opened:
        await sdk.close()


async def until_read(document: Document, wanted: str) -> None:
    """Wait until the text of a document is the wanted one."""
    changed = asyncio.Event()
    document.on_change(changed.set)
    async with asyncio.timeout(PATIENCE_SECONDS):
        while str(document.text()) != wanted:
            changed.clear()
            await changed.wait()


@pytest.mark.database("sqlite")
async def test_programs_edit_one_document(node: "ServerProcess", connect: Callable[..., Aerostack]) -> None:
    async with (
        connect(node).document("docs/together") as ann,
        connect(node).document("docs/together") as bob,
    ):
        ann.text().insert(0, "Hello")
        await until_read(bob, "Hello")
        text = bob.text()
        text += " world"
        bob.map("meta")["title"] = "Greeting"
        await bob.saved()
        await until_read(ann, "Hello world")
        copy: pycrdt.Doc[Any] = pycrdt.Doc()
        copy.apply_update(ann.update())
        assert str(copy.get("content", type=pycrdt.Text)) == "Hello world"
        large = "x" * 200_000
        ann.text().insert(0, large)
        await ann.saved()
        await until_read(bob, large + "Hello world")
    async with connect(node).document("docs/together") as late:
        assert str(late.text()) == large + "Hello world"
        assert late.map("meta").to_py() == {"title": "Greeting"}


@pytest.mark.database("sqlite")
async def test_a_program_without_an_event_loop_edits_a_document(node: "ServerProcess") -> None:
    def edit() -> tuple[str, dict[str, Any]]:
        with BlockingAerostack(node.url, api_key=node.secret_key) as sdk:
            with sdk.document("docs/blocking") as document:
                document.edit(lambda found: found.text().insert(0, "Hello"))
                document.edit(lambda found: found.map("meta").update({"n": 1}))
            with sdk.document("docs/blocking") as document:
                copied = document.update()
                with sdk.document("docs/copied") as copy:
                    copy.apply(copied)
                    return copy.text(), copy.map("meta")

    assert await asyncio.to_thread(edit) == ("Hello", {"n": 1})


async def test_the_server_compacts_a_document_that_grows_and_one_that_rests(
    serve: Serve, connect: Callable[..., Aerostack], calls: Calls
) -> None:
    node = await serve(SETTINGS)
    http = calls(node)
    async with connect(node).document("docs/grows") as document:
        for _ in range(300):
            document.text().insert(0, "a")
        await document.saved()
        async with asyncio.timeout(PATIENCE_SECONDS * 2):
            await until_compacted(
                connect(node), "docs/grows", FEWEST
            )  # fewer that came during the last one are left
        document.text().insert(0, "b")
        await document.saved()
    found = await figures(node)
    assert found("compaction_seconds_count") >= 1
    assert found("compaction_bytes_total", kind="replaced") > 0
    assert found("compaction_bytes_total", kind="stored") > 0
    async with connect(node).document("docs/grows") as late:
        assert str(late.text()) == "b" + "a" * 300
    assert len(await http.history("docs/other/topic")) == 0


async def test_a_document_survives_a_crash_and_retention(serve: Serve, connect: Callable[..., Aerostack]) -> None:
    node = await serve(f'{SETTINGS}\n[[retention]]\npattern = "*"\nmax_count = 1')
    async with connect(node).document("docs/kept") as document:
        for _ in range(30):
            document.text().insert(0, "a")
    await node.kill()
    await node.start()
    async with connect(node).document("docs/kept") as document:
        assert str(document.text()) == "a" * 30
    async with asyncio.timeout(PATIENCE_SECONDS * 2):
        await until_compacted(connect(node), "docs/kept", 1)
    async with connect(node).document("docs/kept") as document:
        assert str(document.text()) == "a" * 30


async def test_a_corrupt_document_is_refused_and_kept(
    serve: Serve, connect: Callable[..., Aerostack], calls: Calls, dial: Dial
) -> None:
    node = await serve(SETTINGS)
    wire = await dial(node)
    for data in (5, "not base64", {"of": "a", "part": 2, "parts": 1, "update": "AAA="}):
        refused = await wire.ask("publish", topic="docs/bad", event="yjs", data=data, persist=True)
        assert refused["code"] == "bad_message"
    async with connect(node).document("docs/bad") as document:
        for _ in range(30):
            document.text().insert(0, "a")
    for _ in range(FEWEST):  # enough to compact, also when what came before was compacted already
        await wire.publish("docs/bad", documents.written(b"\1\2nonsense"), event="yjs", persist=True)
    async with asyncio.timeout(PATIENCE_SECONDS * 2):
        while True:
            if "cannot be read" in node.log.read_text():
                break
            await asyncio.sleep(POLL_SECONDS)  # a line of the log has no event to await
    assert (await figures(node))("unreadable_documents_total") == 1
    with pytest.raises(CorruptDocument, match="cannot be read"):
        await connect(node).document("docs/bad").open()
    assert len(await calls(node).history("docs/bad", limit=100)) in (30 + FEWEST, 1 + FEWEST)


@pytest.mark.database("sqlite")
async def test_the_rules_decide_who_edits_a_document(serve: Serve, connect: Callable[..., Aerostack]) -> None:
    node = await serve(SETTINGS + '[[channels]]\ntopic = "docs/{id}"\nsubscribe = "anyone"\nhistory = "anyone"')
    async with connect(node).document("docs/rules") as editor:
        editor.text().insert(0, "Read me")
    reader = connect(node, api_key=None).document("docs/rules")
    await reader.open()
    assert str(reader.text()) == "Read me"
    reader.text().insert(0, "Not ")
    with pytest.raises(Forbidden):
        await reader.saved()
    await reader.close()
    with pytest.raises(Forbidden):
        await connect(node, api_key=None).document("secret/rules").open()
