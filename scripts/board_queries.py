"""What a Prometheus has for the boards and alerts: `python scripts/board_queries.py PROMETHEUS BOARDS`.

Prints each target's state, each panel with the number of series that its queries return, and which alerts fire.
BOARDS is the directory of the boards. Exits with 1 if a target is down or a query of a panel has no data.
"""

import json
import sys
import urllib.parse
import urllib.request
from pathlib import Path
from typing import Any


def ask(prometheus: str, path: str, **parameters: str) -> Any:
    """The `data` of an answer of Prometheus."""
    query = urllib.parse.urlencode(parameters)
    with urllib.request.urlopen(f"{prometheus}/api/v1/{path}?{query}", timeout=30) as answer:
        return json.load(answer)["data"]


def panels(prometheus: str, board: Path) -> list[tuple[str, list[int]]]:
    """Each panel of a board with the number of series that each of its queries returns."""
    return [
        (panel["title"], [len(series(prometheus, target["expr"])) for target in panel["targets"]])
        for panel in json.loads(board.read_text())["panels"]
    ]


def series(prometheus: str, expression: str) -> list[Any]:
    found: list[Any] = ask(prometheus, "query", query=expression.replace("$__rate_interval", "60s"))["result"]
    return found


def main(prometheus: str, boards: Path) -> int:
    lines = []
    missing = 0
    for target in ask(prometheus, "targets")["activeTargets"]:
        missing += target["health"] != "up"
        lines.append(f"{target['health']:4} {target['labels']['job']} {target['labels']['instance']}")
    for board in sorted(boards.glob("*.json")):
        counted = panels(prometheus, board)
        empty = [title for title, counts in counted if not all(counts)]
        missing += len(empty)
        lines.append(
            f"{board.name}: {len(counted) - len(empty)} of {len(counted)} panels have data for every query"
        )
        lines += [f"     {title}: {', '.join(str(count) for count in counts)}" for title, counts in counted]
    rules = [rule for group in ask(prometheus, "rules")["groups"] for rule in group["rules"]]
    firing = [rule["name"] for rule in rules if rule["state"] == "firing"]
    lines.append(f"{len(rules)} alerts evaluated, firing: {', '.join(firing) or 'none'}")
    sys.stdout.write("\n".join(lines) + "\n")
    return 1 if missing else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1].rstrip("/"), Path(sys.argv[2])))
