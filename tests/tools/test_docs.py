"""READMEs' tables of parts are those of the slots."""

from __future__ import annotations

from pathlib import Path

import pytest

from tools import docs
from trainer.slots import SLOTS


@pytest.mark.parametrize("path", docs.documents(), ids=lambda path: path.parent.name)
def test_tables_are_up_to_date(path: Path) -> None:
    assert docs.updated(path.read_text()) == path.read_text(), "run tools/docs"


def test_every_sampler_and_augmentation_stands_in_a_readme() -> None:
    text = "".join(path.read_text() for path in docs.documents())
    for slot in ("sampler", "augment", "schedule"):
        assert text.count(f"<!-- parts: {slot} -->") == 1
        assert all(f"| `{name}` |" in text for name in SLOTS[slot].table)


def test_a_table_is_replaced_and_the_rest_is_kept(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    text = "before\n<!-- parts: optimizer -->\nold\n<!-- end -->\nafter\n"
    made = docs.updated(text)
    assert made.startswith("before\n<!-- parts: optimizer -->\n| optimizer |  |\n| --- | --- |\n| `sgd` | ")
    assert made.endswith("|\n<!-- end -->\nafter\n")
    assert "old" not in made
    assert docs.updated(made) == made
    with pytest.raises(KeyError, match="no_slot"):
        docs.updated("<!-- parts: no_slot -->\n<!-- end -->")


def test_out_of_date_readmes_are_named_and_written(
    capsys: pytest.CaptureFixture[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    readme = tmp_path / "README.md"
    readme.write_text("<!-- parts: evaluator -->\n<!-- end -->\n")
    monkeypatch.setattr(docs, "ROOT", tmp_path)
    assert docs.main(["--check"]) == 1
    assert docs.main([]) == 0
    assert docs.main(["--check"]) == 0
    assert capsys.readouterr().out == "README.md is out of date\nREADME.md written\n"
    assert "| `classification` |" in readme.read_text()
