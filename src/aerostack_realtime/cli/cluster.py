"""`aerostack cluster`: the nodes of a cluster, as any of them knows them."""

import msgspec
from msgspec import Struct
from rich.table import Table
from rich.text import Text

from aerostack_realtime.cli.client import DEFAULT_URL, Key, Url, run_call
from aerostack_realtime.cli.console import out
from aerostack_realtime.cli.settings import AsJson
from aerostack_realtime.config import DEV_SECRET_KEY
from aerostack_realtime.sdk.endpoint import Endpoint

PATH = "/api/v1/realtime/nodes"


class _Node(Struct, rename="camel"):
    node: str
    name: str
    version: str
    connections: int
    lag_ms: float
    generation: str | None
    keeper: bool


class _Nodes(Struct):
    nodes: list[_Node]


def cluster(as_json: AsJson = False, url: Url = DEFAULT_URL, key: Key = DEV_SECRET_KEY) -> None:
    """List the live nodes of the cluster: name, version, connections, journal lag, generation, keeper.

    The lag is how long an event of the node takes through the journal. The keeper does what exactly one node has
    to do, such as keeping the window of row changes in PostgreSQL.

    Example: `aerostack cluster --url https://realtime.example.com`
    """

    async def run() -> None:
        endpoint = Endpoint(url, api_key=key)
        try:
            found = await endpoint.get(PATH, {}, _Nodes)
        finally:
            await endpoint.close()
        if as_json:
            out.print(msgspec.json.encode(found.nodes).decode(), markup=False)
            return
        listing = Table("name", "version", "connections", "lag", "generation", "keeper", box=None, pad_edge=False)
        for each in found.nodes:
            cells = (each.name, each.version, str(each.connections), f"{each.lag_ms:g} ms")
            last = (each.generation or "no answer", "yes" if each.keeper else "")
            listing.add_row(*map(Text, (*cells, *last)))
        out.print(listing)

    run_call(run, url)
