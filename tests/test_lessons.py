"""The page of lessons names tests that are there."""

from __future__ import annotations

import re
from pathlib import Path

ROOT = Path(__file__).parents[1]
PAGE = (ROOT / "docs" / "lessons.md").read_text(encoding="utf-8")
TESTS = re.findall(r"`(tests/[\w/]+\.py)::(\w+)`", PAGE)


def test_every_row_names_a_test_and_every_named_test_exists() -> None:
    rows = [
        line for line in PAGE.splitlines() if line.startswith("| ") and not line.startswith(("| ---", "| what went"))
    ]
    assert len(rows) >= 20
    assert all(re.search(r"`tests/[\w/]+\.py::\w+`", row) for row in rows)
    for path, name in TESTS:
        assert re.search(rf"^(async )?def {name}\(", (ROOT / path).read_text(encoding="utf-8"), re.M), f"{path}::{name}"
