"""Puts the pages of the documentation site into one directory: `python scripts/stage_docs.py DIRECTORY`.

The site has the pages of docs/, those that are kept elsewhere because a package needs them there, and a list of
the decisions. Links to files outside the site become links to the repository. Every page of the menu in mkdocs.yml
must exist, and every page must be in the menu or be a decision or a runbook, which have lists of their own.
"""

import os
import re
import shutil
import sys
from pathlib import Path
from typing import Final

ROOT: Final = Path(__file__).resolve().parents[1]
REPOSITORY: Final = "https://github.com/aerostack-realtime/aerostack-realtime"
ELSEWHERE: Final = {
    "packages/realtime/README.md": "typescript.md",
    "examples/README.md": "examples.md",
    "bench/RESULTS.md": "internals/benchmarks.md",
    "CHANGELOG.md": "changelog.md",
    "CONTRIBUTING.md": "contributing.md",
    "SECURITY.md": "security.md",
}
_LINK: Final = re.compile(r"(\]\()([^)\s#]*)(#[^)\s]*)?(\))")
_BLOB: Final = f"{REPOSITORY}/blob/main/"


def stage(target: Path) -> None:
    """Write every page and picture of the site below `target`."""
    shutil.rmtree(target, ignore_errors=True)
    shutil.copytree(ROOT / "docs", target, ignore=shutil.ignore_patterns("*.webp"))  # those are the README's
    for source, place in ELSEWHERE.items():
        (target / place).write_text((ROOT / source).read_text())
    (target / "decisions" / "index.md").write_text(decisions())
    for page in target.rglob("*.md"):
        within = page.relative_to(target)
        page.write_text(linked(page.read_text(), source_of(within), within))


def decisions() -> str:
    """The list of the decisions, by their titles."""
    pages = sorted((ROOT / "docs" / "decisions").glob("*.md"))
    rows = [f"- [{page.read_text().partition(chr(10))[0].removeprefix('# ')}]({page.name})\n" for page in pages]
    return "# Decisions\n\nWhat was decided, with date, status and the options that were rejected.\n\n" + "".join(
        rows
    )


def misplaced(target: Path) -> list[str]:
    """What differs between the staged pages and the menu."""
    menu = set(re.findall(r"[\w./-]+\.md", (ROOT / "mkdocs.yml").read_text().partition("\nnav:")[2]))
    staged = {str(page.relative_to(target)) for page in target.rglob("*.md")}
    listed = {page for page in staged if page.startswith(("decisions/", "runbooks/"))}
    return [
        *(f"mkdocs.yml names {page}, which does not exist." for page in sorted(menu - staged)),
        *(f"{page} is missing in the menu of mkdocs.yml." for page in sorted(staged - menu - listed)),
    ]


def source_of(place: Path) -> Path:
    """Where a page of the site is kept, relative to the repository."""
    own = {Path(page): Path(source) for source, page in ELSEWHERE.items()}
    return own.get(place, "docs" / place)


def linked(text: str, source: Path, place: Path) -> str:
    """The page with each link leading to a page of the site, or else to the repository."""

    def replace(match: re.Match[str]) -> str:
        opening, address, anchor, closing = match.groups(default="")
        return f"{opening}{_address(address, source, place)}{anchor}{closing}"

    return _LINK.sub(replace, text)


def _address(address: str, source: Path, place: Path) -> str:
    if address.startswith(_BLOB):
        file = address.removeprefix(_BLOB)
    elif not address or ":" in address or address.startswith("/"):
        return address
    else:
        file = os.path.normpath(source.parent / address)
    page = ELSEWHERE.get(file) or (file.removeprefix("docs/") if file.startswith("docs/") else None)
    if page is not None and ((ROOT / file).is_file()):
        return os.path.relpath(page, place.parent)
    if not (ROOT / file).exists():
        return address  # the strict build reports it
    return f"{REPOSITORY}/{'tree' if (ROOT / file).is_dir() else 'blob'}/main/{file}"


if __name__ == "__main__":
    stage(Path(sys.argv[1]))
    if wrong := misplaced(Path(sys.argv[1])):
        sys.exit("\n".join(wrong))
