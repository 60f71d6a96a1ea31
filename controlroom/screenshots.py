"""`python -m controlroom.screenshots --out DIR`: pictures of every page, to be looked at."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

from playwright.sync_api import Page

from controlroom.browser import chromium

ADDRESS = "http://127.0.0.1:7100"
PAGES = ("network", "market", "feeder", "participant", "certificates", "explorer")
READY = {
    "network": "[data-node] dl",
    "market": ".tile [data-figure='market.price'], .tiles .empty",
    "feeder": ".feeder svg, .tiles .empty",
    "participant": ".lines details, .tiles .empty, .card .empty",
    "certificates": ".tile [data-figure='certificates.issued']",
    "explorer": "main .card table, main .card pre",
}
PATIENCE_MS = 30_000
WIDTH, HEIGHT = 1440, 900


def main(arguments: Sequence[str] | None = None) -> int:
    options = _parser().parse_args(arguments)
    options.out.mkdir(parents=True, exist_ok=True)
    with chromium() as browser:
        for theme in options.themes.split(","):
            for language in options.languages.split(","):
                context = browser.new_context(
                    viewport={"width": options.width, "height": HEIGHT}, reduced_motion="reduce"
                )
                context.add_init_script(f"localStorage.theme = {theme!r}; localStorage.language = {language!r}")
                page = context.new_page()
                for name in options.pages.split(","):
                    file = options.out / f"{name.replace('/', '-').partition('?')[0]}-{theme}-{language}.png"
                    take(page, options.address, name, file, whole=not options.fold)
                    print(file)
                context.close()
    return 0


def take(page: Page, address: str, name: str, file: Path, whole: bool = True) -> None:
    """One page as soon as it shows its numbers."""
    page.goto(f"{address}/#/{name}")
    page.reload()
    page.wait_for_selector(READY[name.split("/")[0].partition("?")[0]], timeout=PATIENCE_MS)
    page.wait_for_timeout(400)  # a picture, not a test: late numbers come in
    page.screenshot(path=str(file), full_page=whole)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m controlroom.screenshots", description="Pictures of every page.")
    parser.add_argument("--out", type=Path, required=True, metavar="DIR", help="folder for the pictures")
    parser.add_argument("--address", default=ADDRESS, help=f"of the control room (default {ADDRESS})")
    parser.add_argument("--pages", default=",".join(PAGES), help="which pages, with parameters where wanted")
    parser.add_argument("--themes", default="light,dark")
    parser.add_argument("--languages", default="en,zh")
    parser.add_argument("--width", type=int, default=WIDTH)
    parser.add_argument("--fold", action="store_true", help="only what is seen without scrolling")
    return parser


if __name__ == "__main__":
    sys.exit(main())
