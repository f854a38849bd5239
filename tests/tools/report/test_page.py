"""A report page as a whole: it loads nothing, runs nothing, and can be read by everybody."""

from __future__ import annotations

import json
import re
from importlib import resources
from pathlib import Path

import pytest
from report_pages import page, three, write_run, write_samples

HOSTILE = """</title></style><script>alert(1)</script><img src="http://x/y"> '"&$x^2$"""


@pytest.mark.parametrize("several", [False, True])
def test_the_page_loads_nothing_and_runs_nothing(tmp_path: Path, several: bool) -> None:
    runs = three(tmp_path) if several else [write_run(tmp_path / "a")]
    made = page(*runs)
    assert "http:" not in made.source
    assert "https:" not in made.source
    assert "@import" not in made.source
    assert not {"script", "img", "link", "iframe", "object", "embed", "base"} & {
        tag for tag, _, _ in made.elements
    }
    policies = [
        meta for meta in made.attributes("meta") if meta.get("http-equiv") == "Content-Security-Policy"
    ]
    assert policies[0]["content"].startswith("default-src 'none'")
    for _, attributes, _ in made.elements:
        assert not any(name.startswith("on") or name == "src" for name in attributes)
        assert attributes.get("href", "#").startswith("#")
    assert all(target.startswith("#") for target in re.findall(r"url\(([^)]*)\)", made.source))


@pytest.mark.parametrize("several", [False, True])
def test_ids_are_unique_and_references_lead_somewhere(tmp_path: Path, several: bool) -> None:
    made = page(*(three(tmp_path) if several else [write_run(tmp_path / "a")]))
    ids = [attributes["id"] for _, attributes, _ in made.elements if "id" in attributes]
    assert len(ids) == len(set(ids))
    for _, attributes, _ in made.elements:
        named = attributes.get("aria-labelledby", "").split()
        clipped = re.findall(r"url\(#([^)]*)\)", attributes.get("clip-path", ""))
        linked = [attributes["href"][1:]] if "href" in attributes else []
        assert {*named, *clipped, *linked} <= set(ids)


@pytest.mark.parametrize("several", [False, True])
def test_every_drawing_has_a_text_alternative(tmp_path: Path, several: bool) -> None:
    made = page(*(three(tmp_path) if several else [write_run(tmp_path / "a")]))
    titles = {
        attributes["id"]: text
        for tag, attributes, text in made.elements
        if tag in ("title", "desc") and "id" in attributes
    }
    drawings = [
        attributes for attributes in made.attributes("svg") if attributes.get("aria-hidden") != "true"
    ]
    plots = [attributes for attributes in drawings if "aria-labelledby" in attributes]
    assert len(plots) == 5 + several  # of several runs also the speed-up
    for attributes in drawings:
        assert attributes["role"] == "img"
        if attributes in plots:
            assert all("".join(titles[name]).strip() for name in attributes["aria-labelledby"].split())
        else:
            assert attributes["aria-label"].strip()
    assert "The numbers" in made.texts("summary")
    assert all(caption for caption in made.texts("caption"))
    assert len(made.texts("caption")) == len(made.texts("table"))


def test_plots_are_colored_by_the_style_sheet_in_real_text(run: Path) -> None:
    made = page(run)
    style = made.texts("style")[0]
    plots = made.source.partition("</style>")[2]
    assert not re.search(r"(?:fill|stroke): #", plots)
    for name in set(re.findall(r"var\((--[\w-]+)\)", made.source)):
        assert f"{name}:" in style, name
    assert "trained samples, thousands" in made.texts("text")


def test_same_runs_same_page(run: Path, tmp_path: Path) -> None:
    assert page(run, out=tmp_path / "1.html").source == page(run, out=tmp_path / "2.html").source


def luminance(color: str) -> float:
    shares = [int(color[i : i + 2], 16) / 255 for i in (1, 3, 5)]
    linear = [s / 12.92 if s <= 0.03928 else ((s + 0.055) / 1.055) ** 2.4 for s in shares]
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]


def test_colors_stand_out_on_light_and_on_dark_paper() -> None:
    """WCAG 2.1: contrast of at least 4.5 for text and 3 for lines."""
    style = resources.files("tools.reporting").joinpath("style.css").read_text(encoding="utf-8")
    for block in re.findall(r":root \{(.*?)\}", style, flags=re.DOTALL)[:2]:
        colors = dict(re.findall(r"--([\w-]+): (#\w{6});", block))
        paper = luminance(colors["paper"])
        for name, color in colors.items():
            bright, dim = sorted((luminance(color), paper), reverse=True)
            contrast = (bright + 0.05) / (dim + 0.05)
            if name in ("ink", "muted", "accent", "notice"):
                assert contrast >= 4.5, name
            elif name.startswith("run-"):
                assert contrast >= 3, name


def test_nothing_from_a_file_is_markup(tmp_path: Path) -> None:
    recipe = {"data": HOSTILE, "sampler": {"name": HOSTILE}, HOSTILE: HOSTILE, "augment": [{"name": HOSTILE}]}
    hostile = [
        write_run(tmp_path / name, {**recipe, "model": {"name": f"{name}{HOSTILE}"}}, phases={HOSTILE: 1.0})
        for name in ("a<b>", "c&d")
    ]
    for run in hostile:
        write_samples(run, [HOSTILE, f"$\\frac{{1}}$ {HOSTILE}", "\ud800 \x00"])
        (run / "environment.json").write_text(json.dumps({HOSTILE: HOSTILE, "command": HOSTILE}))
    for made in (page(hostile[0], out=tmp_path / "1.html"), page(*hostile, out=tmp_path / "2.html")):
        assert not {"script", "img"} & {tag for tag, _, _ in made.elements}
        assert "<script>alert(1)</script>" in made.text
        assert len(made.texts("title")) > 1
        assert HOSTILE in made.texts("code")
