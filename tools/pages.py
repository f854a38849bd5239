"""The documentation site: READMEs, a page of every part from the slots, and docstrings, by MkDocs."""

from __future__ import annotations

import importlib
import os
import shutil
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path

from tools.listing import description, headline, options, paragraphs
from trainer.errors import RunError
from trainer.recipe import recipes
from trainer.slots import SLOTS, Slot

PACKAGES = ("trainer", "pipeline", "samplers")
_TABLES = (
    "SAMPLERS",
    "AUGMENTS",
    "ENGINES",
    "METHODS",
    "MODELS",
    "OPTIMIZERS",
    "SCHEDULES",
    "SELECTIONS",
    "SLOTS",
)


def build_site(root: Path, folder: Path) -> None:
    """Build the site of the project at ``root`` into ``folder``, which is replaced.

    Raises
    ------
    RunError
        If MkDocs is missing, or finds a fault in the pages.
    """
    if find_spec("material") is None or find_spec("mkdocstrings") is None:
        raise RunError("a site is built by mkdocs-material and mkdocstrings: ./tools/setup docs")
    pages = root / "build" / "pages"
    shutil.rmtree(pages, ignore_errors=True)
    gather(root, pages)
    command = [sys.executable, "-m", "mkdocs", "build", "--strict", "--quiet", "--clean"]
    command += ["--config-file", str(root / "tools" / "mkdocs.yml"), "--site-dir", str(folder.absolute())]
    environment = {**os.environ, "BUDGETRAIN_PAGES": str(pages), "PYTHONPATH": str(root)}
    done = subprocess.run(command, env=environment, stderr=subprocess.PIPE, text=True, check=False)
    if done.returncode:
        lines = [line for line in done.stderr.splitlines() if line.strip()]
        raise RunError(
            f"MkDocs must build the pages in {pages} without a warning; got {'; '.join(lines)[:2000]}"
        )


def gather(root: Path, pages: Path) -> None:
    """Write the site's pages: READMEs as they lie in the project, ``parts.md`` and ``api/PACKAGE.md``."""
    for document in [*root.glob("*.md"), *root.glob("*/README.md"), root / "tools" / "studies" / "README.md"]:
        page = pages / document.relative_to(root)
        page.parent.mkdir(parents=True, exist_ok=True)
        page.write_text(document.read_text(encoding="utf-8"), encoding="utf-8")
    shutil.copy(root / "tools" / "mkdocs.css", pages)
    (pages / "parts.md").write_text(parts(), encoding="utf-8")
    (pages / "api").mkdir()
    for package in PACKAGES:
        (pages / "api" / f"{package}.md").write_text(reference(package), encoding="utf-8")


def parts() -> str:
    """Return the page of every part of every slot with its options, and of the recipes: ``trainer list``."""
    sections = ["# Every part\n\nWhat `trainer list` prints, with the options of each part.\n"]
    sections += [_section(slot) for slot in SLOTS.values()]
    rows = "".join(f"| `{name}` | {_cell(headline(path))} |\n" for name, path in recipes().items())
    return "\n".join([*sections, f"## recipes\n\n| recipe |  |\n| --- | --- |\n{rows}"])


def _section(slot: Slot) -> str:
    lines = [f"## {slot.plural}\n"]
    for name, part in slot.table.items():
        lines.append(f"### {name}\n")
        lines += [f"{_prose(paragraph)}\n" for paragraph in paragraphs(part)] or [f"{description(part)}\n"]
        found = options(part)
        if found:
            prefix = slot.prefix(name)
            lines.append("| option | type | default | what it does |\n| --- | --- | --- | --- |")
            for option, kind, default, what in found:
                written = prefix + option.replace("_", "-") if prefix else option
                lines.append(f"| `{written}` | `{_cell(kind)}` | `{_cell(default) or ' '}` | {_cell(what)} |")
            lines.append("")
    return "\n".join(lines)


def _cell(text: str) -> str:
    return " ".join(text.split()).replace("|", "\\|").replace("<", "&lt;")


def _prose(text: str) -> str:
    return text.replace("<", "&lt;").replace("*", "\\*").replace("_", "\\_")


def reference(package: str) -> str:
    """Return the page of a package's public names, from their docstrings."""
    module = importlib.import_module(package)
    summary, _, rest = (module.__doc__ or "").partition("\n")
    names = [name for name in module.__all__ if name not in _TABLES and name != "BudgetrainError"]
    shown = "\n\n".join(f"::: {package}.{name}" for name in sorted(names, key=str.lower))
    return f"# {package}\n\n{summary}\n{rest}\n\n{shown}\n"
