"""The page's files: every word in both languages, and nothing from elsewhere."""

from __future__ import annotations

import json
import re

import pytest

from controlroom.server import STATIC

TEXTS: dict[str, dict[str, str]] = json.loads((STATIC / "translations.json").read_text(encoding="utf-8"))
SCRIPTS = {file: file.read_text(encoding="utf-8") for file in sorted(STATIC.rglob("*.js"))}
GROUPS = {
    "page", "pulse", "side", "state", "direction", "way", "hit", "role", "kind", "order", "bill", "fact", "quality", "pricing",
    "proposal", "status", "error", "refusal", "fault",
}  # fmt: skip
"""What the chain's own words are translated in; their keys are put together where they are used."""


def used_keys() -> set[str]:
    found = set(re.findall(r'data-(?:t|label)="([a-z.]+)"', (STATIC / "index.html").read_text(encoding="utf-8")))
    for text in SCRIPTS.values():
        found |= set(re.findall(r'\bt\("([A-Za-z0-9_.]+)"', text))
        found |= set(re.findall(r'[?:] "([a-z]+\.[a-z0-9_]+)"', text))
    return found


def test_both_languages_have_every_text_with_the_same_places_in_it() -> None:
    assert set(TEXTS) == {"en", "zh"}
    assert set(TEXTS["en"]) == set(TEXTS["zh"])
    for key, text in TEXTS["en"].items():
        places = set(re.findall(r"\{(\w+)\}", text))
        assert places == set(re.findall(r"\{(\w+)\}", TEXTS["zh"][key])), key
        assert text.strip(), key


def test_every_text_that_is_used_is_there_and_every_one_that_is_there_is_used() -> None:
    used = used_keys()
    assert used - set(TEXTS["en"]) == set()
    assert {key for key in TEXTS["en"] if key.partition(".")[0] not in GROUPS} - used == set()


@pytest.mark.parametrize("file", sorted(f for f in STATIC.rglob("*") if f.is_file()), ids=lambda f: f.name)
def test_no_file_names_another_place_to_load_from(file: object) -> None:
    from pathlib import Path

    assert isinstance(file, Path)
    text = file.read_text(encoding="utf-8").replace("http://www.w3.org/2000/svg", "")
    assert re.findall(r"(?:https?:)?//[A-Za-z0-9][A-Za-z0-9.-]*\.[A-Za-z]{2,}", text) == []
    assert "@import" not in text


def test_no_script_writes_html_from_text() -> None:
    for file, text in SCRIPTS.items():
        for way in ("innerHTML", "outerHTML", "insertAdjacentHTML", "document.write", "eval("):
            assert way not in text, file
