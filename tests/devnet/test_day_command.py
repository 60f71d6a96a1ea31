"""The day's command line: bad files and missing networks are sentences and exit codes, before anything is sent."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from devnet.day import DATA, main


@pytest.fixture
def feeder(tmp_path: Path) -> Path:
    return Path(shutil.copytree(DATA, tmp_path / "feeder"))


def test_a_malformed_cell_is_named_and_ends_with_2(feeder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    day = feeder / "2016-06-10.csv"
    lines = day.read_text(encoding="utf-8").splitlines()
    cells = lines[16].split(",")
    place = lines[0].split(",").index("G003")
    lines[16] = ",".join([*cells[:place], "12.5", *cells[place + 1 :]])
    day.write_text("\n".join(lines), encoding="utf-8")
    # No network is there to send anything to: the file is refused first.
    assert main(["--feeder", str(feeder), "--network", str(feeder / "network.json"), "--json"]) == 2
    said = capsys.readouterr()
    assert said.err == (
        "error: 2016-06-10.csv: row 17, column G003: expected a whole number of Wh, 0 or more, found '12.5'\n"
    )
    assert said.out == ""


def test_bytes_that_are_no_text_are_named_by_row_and_column(feeder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    day = feeder / "2016-06-10.csv"
    lines = day.read_bytes().split(b"\n")
    cells = lines[5].split(b",")
    lines[5] = b",".join([*cells[:3], b"\xff\xfe", *cells[4:]])
    day.write_bytes(b"\n".join(lines))
    assert main(["--feeder", str(feeder), "--network", str(feeder / "network.json")]) == 2
    assert capsys.readouterr().err == "error: 2016-06-10.csv: row 6, column L002: expected text in UTF-8\n"


def test_a_missing_file_is_told_and_ends_with_2(feeder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--feeder", str(feeder), "--day", "2016-06-11.csv"]) == 2
    assert "2016-06-11.csv" in capsys.readouterr().err
    assert main(["--feeder", str(feeder / "nowhere")]) == 2


def test_slots_that_the_day_does_not_have_are_told(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--slots", "90:97"]) == 2
    assert "has no slot 96" in capsys.readouterr().err


def test_a_missing_network_is_told_with_what_to_do(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--network", str(tmp_path / "network.json")]) == 1
    assert "start one with devnet/up.sh" in capsys.readouterr().err
