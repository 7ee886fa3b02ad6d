"""Where the pages for browsers are, and whether they were built. Commands import it without the server."""

from pathlib import Path
from typing import Final

ROOT: Final = Path(__file__).parent.parent.parent / "web"
"""Built by `make install` from packages/ and examples/; the wheel contains it."""

BUILT: Final = tuple(
    ROOT / each for each in ("index.html", "console/index.html", "sdk/aerostack.js", "sdk/aerostack-react.js")
)


def missing() -> str | None:
    """What to say when the pages were not built; None when they are there."""
    if all(path.is_file() for path in BUILT):
        return None
    return "The browser client and the pages are not built: run `make install` in the source tree."
