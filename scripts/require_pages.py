"""A build hook of hatch: a package without its browser pages is not built."""

from pathlib import Path
from typing import Any

from hatchling.builders.hooks.plugin.interface import BuildHookInterface

PAGES = (
    "index.html",
    "console/index.html",
    "sdk/aerostack.js",
    "sdk/aerostack-react.js",
    "examples/chat/index.html",
)


class RequirePages(BuildHookInterface[Any]):
    """Fails the build of a wheel or an sdist when the pages are missing; an editable install may come before
    them."""

    def initialize(self, version: str, build_data: dict[str, Any]) -> None:  # noqa: ARG002 - hatch's signature
        web = Path(self.root) / "src" / "aerostack_realtime" / "web"
        missing = [page for page in PAGES if not (web / page).is_file()]
        if version != "editable" and missing:
            raise RuntimeError(
                f"The browser client and the pages are not built ({', '.join(missing)} missing in {web}), so the"
                " package would lack them. Run `make wheel`, which builds both; it needs Node 20 or newer."
            )
