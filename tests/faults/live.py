"""Holds a live table, and leaves its final rows for comparison with the table."""

import asyncio

import msgspec

from tests.faults.child import END_ROW, TABLE, Progress, Role, role, tell
from tests.faults.recorded import LIVE_SHOWN


async def run(part: Role) -> None:
    progress = Progress()
    shown = {"gte": LIVE_SHOWN.low, "lt": LIVE_SHOWN.high}
    async with part.sdk() as sdk, sdk.realtime.table(TABLE, filter={"grp": shown}) as rows:
        changes = aiter(rows)
        tell("ready")
        async for change in changes:  # which raises what ends it
            progress.add()
            if change.key == END_ROW:
                break
        final = {str(key): row for key, row in rows.items()}
        (part.place / "live.rows").write_bytes(msgspec.json.encode(final))
    tell("done")


if __name__ == "__main__":
    asyncio.run(run(role()))
