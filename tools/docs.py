"""``tools/docs``: the READMEs' tables of parts, written from `trainer.slots`; and the site.

Tables between ``<!-- parts: SLOT -->`` and ``<!-- end -->`` are replaced.
"""

from __future__ import annotations

import inspect
import re
import sys
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from samplers.protocol import may_starve
from tools.pages import build_site
from trainer.errors import RunError
from trainer.slots import SLOTS, Slot

ROOT = Path(__file__).parents[1]
TRAITS: Mapping[str, Callable[[Any], str]] = {
    "needs": lambda part: ", ".join(getattr(part, "needs", ())),
    "scores first": lambda part: "yes" if getattr(part, "scores", None) is True else "",
    "may leave out": lambda part: "some, for good" if may_starve(part) else "",
}
"""Further columns of a table of parts, by their headings."""

_TABLE = re.compile(r"(<!-- parts: (\w+) -->\n).*?(<!-- end -->)", re.DOTALL)


def documents() -> list[Path]:
    """Return the READMEs of the project."""
    return [ROOT / "README.md", *sorted(ROOT.glob("*/README.md"))]


def updated(text: str) -> str:
    """Return a README's text with up-to-date tables of slots.

    Raises
    ------
    KeyError
        When a table is marked for a slot that doesn't exist.
    """
    return _TABLE.sub(lambda found: f"{found[1]}{_rows(SLOTS[found[2]])}{found[3]}", text)


def _rows(slot: Slot) -> str:
    """Return a slot's table: each part, the first line of its docstring, and traits that any of them has."""
    parts = {name: cls() for name, cls in slot.table.items()}
    traits = {head: trait for head, trait in TRAITS.items() if any(map(trait, parts.values()))}
    head = [slot.name, "", *traits]
    lines = [head, ["---"] * len(head)]
    for name, part in parts.items():
        what = (inspect.getdoc(part) or "").partition("\n")[0]
        lines.append([f"`{name}`", what, *(trait(part) for trait in traits.values())])
    return "".join(f"| {' | '.join(cells)} |\n" for cells in lines)


def main(arguments: Sequence[str]) -> int:
    """Write the tables; with ``--check`` only print which READMEs are out of date, with status 1.

    With ``--site`` build the site instead.
    """
    unknown = set(arguments) - {"--check", "--site"}
    if unknown:
        print(f"tools/docs takes --check or --site; got {' '.join(sorted(unknown))}", file=sys.stderr)
        return 2
    if "--site" in arguments:
        try:
            build_site(ROOT, ROOT / "site")
        except RunError as error:
            print(error, file=sys.stderr)
            return 2
        print("site/index.html")
        return 0
    stale = [path for path in documents() if updated(path.read_text()) != path.read_text()]
    for path in stale:
        print(f"{path.relative_to(ROOT)} {'is out of date' if '--check' in arguments else 'written'}")
        if "--check" not in arguments:
            path.write_text(updated(path.read_text()))
    return int(bool(stale) and "--check" in arguments)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
