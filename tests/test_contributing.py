"""The files around the project say what holds: workflow, hooks, image, coverage and the site's pages."""

from __future__ import annotations

import re
import tomllib
from pathlib import Path

import pytest

from tools import docs
from tools.listing import description
from tools.pages import PACKAGES, gather
from trainer.slots import SLOTS

ROOT = Path(__file__).parents[1]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]


def test_the_workflow_runs_the_oldest_python_with_old_and_new_packages_and_newer_ones() -> None:
    text = (ROOT / ".github" / "workflows" / "checks.yml").read_text()
    found = re.findall(r'python: "(3\.\d+)", versions: (\w+)', text)
    oldest = PROJECT["requires-python"].removeprefix(">=")
    assert {(oldest, "oldest"), (oldest, "newest")} <= set(found)
    assert {version for version, _ in found} == {"3.11", "3.12", "3.13", "3.14"}
    script = (ROOT / "tools" / "test").read_text()
    for option in re.findall(r"options: (--[\w-]+)", text):
        assert f"{option})" in script
    for command in re.findall(r"run: \./(\S+)", text):
        assert (ROOT / command).exists()


def test_hooks_are_the_projects_own_tools() -> None:
    text = (ROOT / ".pre-commit-config.yaml").read_text()
    entries = re.findall(r"entry: (\S+)", text)
    assert text.count("language: system") == len(entries) == 5
    script = (ROOT / "tools" / "test").read_text()
    for entry in entries:
        assert (ROOT / entry).exists() or entry.startswith(".venv/bin/")
        if entry.startswith(".venv/bin/"):
            assert f"$bin/{Path(entry).name}" in script


def test_the_image_has_what_the_package_has() -> None:
    text = (ROOT / "tools" / "Dockerfile").read_text()
    for copied in re.findall(r"^COPY (.*) \S+$", text, re.MULTILINE):
        assert all((ROOT / name).exists() for name in copied.split())
    extras = re.findall(r"'\.\[([\w,]+)\]'", text)[0].split(",")
    assert set(extras) <= set(PROJECT["optional-dependencies"])
    for package in ("g++", "pkg-config", "libturbojpeg0-dev", "libopencv-dev"):
        assert package in text
        assert package in (ROOT / "tools" / "setup").read_text()


def test_the_site_has_every_readme_every_part_and_every_public_name(tmp_path: Path) -> None:
    gather(ROOT, tmp_path)
    for document in docs.documents():
        assert (tmp_path / document.relative_to(ROOT)).read_text() == document.read_text()
    parts = (tmp_path / "parts.md").read_text()
    for slot in SLOTS.values():
        assert f"## {slot.plural}\n" in parts
        assert all(f"### {name}\n" in parts for name in slot.table)
    assert description(SLOTS["sampler"].table["rs2"]) in parts.replace("\\", "")
    named = (ROOT / "tools" / "mkdocs.yml").read_text()
    for page in re.findall(r": (\S+\.md)$", named, re.MULTILINE):
        assert (tmp_path / page).exists()
    for package in PACKAGES:
        assert f"::: {package}." in (tmp_path / "api" / f"{package}.md").read_text()


def test_an_unknown_option_is_named(capsys: pytest.CaptureFixture[str]) -> None:
    assert docs.main(["--sight"]) == 2
    assert capsys.readouterr().err == "tools/docs takes --check or --site; got --sight\n"
