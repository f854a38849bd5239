"""``trainer list``: every part of every slot, its options, and the recipes."""

from __future__ import annotations

import ast
import dataclasses
import difflib
import inspect
import textwrap
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

import tyro
from rich.console import Console
from rich.table import Table
from rich.text import Text

from trainer.errors import RunError
from trainer.recipe import recipes
from trainer.slots import SLOTS, Slot

RECIPES = "recipes"
LISTED = (*(slot.plural for slot in SLOTS.values()), RECIPES)
"""Names that can be listed: every slot, and the recipes."""

Option = tuple[str, str, str, str]
"""Name, type, default and help of an option."""


@dataclass(frozen=True)
class List:
    """Show every part of every slot and the recipes; or one slot; or one part with its options."""

    slot: Annotated[
        tyro.conf.Positional[str | None],
        tyro.conf.arg(
            metavar="[SLOT]", help_behavior_hint="", help=f"The slot to list, one of {', '.join(LISTED)}."
        ),
    ] = None

    part: Annotated[
        tyro.conf.Positional[str | None], tyro.conf.arg(metavar="[PART]", help_behavior_hint="")
    ] = None
    """A part of the slot, to show its options; a recipe, to show its text."""

    def execute(self, console: Console) -> int:
        """Print the tables.

        Raises
        ------
        RunError
            If there is no such slot or part; the message lists the existing ones.
        """
        if self.slot is None:
            for listed in LISTED:
                console.print(_table(listed))
            return 0
        listed = self.slot if self.slot in LISTED else f"{self.slot}s"
        if listed not in LISTED:
            raise RunError(f"slot must be one of {', '.join(LISTED)}; got {self.slot!r}")
        if self.part is None:
            console.print(_table(listed))
            return 0
        known = recipes() if listed == RECIPES else _slot(listed).table
        if self.part not in known:
            close = difflib.get_close_matches(self.part, known, n=1)
            meant = f"; did you mean {close[0]}?" if close else ""
            raise RunError(f"{listed} has {', '.join(known)}; got {self.part!r}{meant}")
        if listed == RECIPES:
            console.print(recipes()[self.part].read_text(encoding="utf-8"), markup=False, highlight=False)
        else:
            _print_part(_slot(listed), self.part, console)
        return 0


def _slot(plural: str) -> Slot:
    return next(slot for slot in SLOTS.values() if slot.plural == plural)


def _table(listed: str) -> Table:
    table = Table(title=listed, title_justify="left", title_style="bold", box=None, padding=(0, 2, 0, 0))
    table.add_column("name", no_wrap=True, style="cyan")
    table.add_column("what it is")
    table.show_header = False
    if listed == RECIPES:
        rows = [(name, headline(path)) for name, path in recipes().items()]
    else:
        rows = [(name, description(part)) for name, part in _slot(listed).table.items()]
        if listed == SLOTS["source"].plural:
            rows.append(("FOLDER", "A folder of images, one folder per class; name its path."))
    for name, what in rows:
        table.add_row(Text(name), Text(what))
    table.add_row("", "")
    return table


def _print_part(slot: Slot, name: str, console: Console) -> None:
    part = slot.table[name]
    for paragraph in paragraphs(part):
        console.print(Text(paragraph))
        console.print()
    found = options(part)
    if not found:
        console.print("It has no options.")
        return
    prefix = slot.prefix(name)
    table = Table(box=None, padding=(0, 2, 0, 0))
    table.add_column("option", no_wrap=True, style="cyan")
    for heading in ("type", "default", "what it does"):
        table.add_column(heading)
    for option, kind, default, what in found:
        written = prefix + option.replace("_", "-") if prefix else option
        table.add_row(Text(written), Text(kind), Text(default), Text(what))
    console.print(table)


def description(part: type) -> str:
    """Return the first line of a part's docstring."""
    return inspect.cleandoc(part.__doc__ or "").partition("\n")[0]


def paragraphs(part: type) -> list[str]:
    """Return a part's docstring for a terminal: paragraphs unwrapped, indented or underlined text kept."""
    made = []
    for paragraph in inspect.cleandoc(part.__doc__ or "").replace("``", "`").split("\n\n"):
        lines = paragraph.splitlines()
        as_it_stands = any(line.startswith((" ", "--")) for line in lines)
        made.append(paragraph if as_it_stands else " ".join(lines).removesuffix(" ::").removesuffix("::"))
    return made


def headline(recipe: Path) -> str:
    """Return the first line of a recipe's leading comment."""
    first = recipe.read_text(encoding="utf-8").partition("\n")[0]
    return first.removeprefix("#").strip() if first.startswith("#") else ""


def options(part: type) -> list[Option]:
    """Return a part's options with their docstrings, from its source; none if it has no fields."""
    if not dataclasses.is_dataclass(part):
        return []
    helps: dict[str, str] = {}
    for cls in reversed(part.__mro__):
        if dataclasses.is_dataclass(cls):
            helps.update(_field_docstrings(cls))
    return [
        (item.name, str(item.type), _default(item), helps.get(item.name, ""))
        for item in dataclasses.fields(part)
        if item.init
    ]


def _field_docstrings(cls: type) -> dict[str, str]:
    body = ast.parse(textwrap.dedent(inspect.getsource(cls))).body[0]
    assert isinstance(body, ast.ClassDef)
    found: dict[str, str] = {}
    for before, after in zip(body.body, body.body[1:], strict=False):
        named = isinstance(before, ast.AnnAssign) and isinstance(before.target, ast.Name)
        literal = isinstance(after, ast.Expr) and isinstance(after.value, ast.Constant)
        if named and literal:
            found[before.target.id] = " ".join(str(after.value.value).split())  # type: ignore[attr-defined]
    return found


def _default(item: dataclasses.Field[Any]) -> str:
    if item.default is not dataclasses.MISSING:
        return _short(item.default)
    if item.default_factory is not dataclasses.MISSING:
        return _short(item.default_factory())
    return "(required)"


def _short(value: object) -> str:
    """Return a default value as typed on the command line."""
    if isinstance(value, float):
        return f"{value:.6g}"
    if isinstance(value, tuple):
        return " ".join(_short(item) for item in value)
    return str(value)
