"""`python -m controlroom.paint`: how soon each page is painted, in a fresh browser profile each time (nothing cached)."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from statistics import median

from controlroom.browser import chromium
from controlroom.screenshots import ADDRESS, PAGES, PATIENCE_MS, READY

FIRST_PAINT = "performance.getEntriesByName('first-contentful-paint').map((entry) => entry.startTime)[0] ?? null"
NOW = "performance.now()"


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m controlroom.paint", description="How soon each page is painted.")
    parser.add_argument("--address", default=ADDRESS, help=f"of the control room (default {ADDRESS})")
    parser.add_argument("--times", type=int, default=5, help="visits of each page")
    options = parser.parse_args(arguments)
    with chromium() as browser:
        for name in PAGES:
            paints: list[float] = []
            filled: list[float] = []
            for _ in range(options.times):
                context = browser.new_context()
                page = context.new_page()
                page.goto(f"{options.address}/#/{name}")
                page.wait_for_selector(READY[name], timeout=PATIENCE_MS)
                filled.append(page.evaluate(NOW))
                page.wait_for_function(f"() => ({FIRST_PAINT}) !== null", timeout=PATIENCE_MS)
                paints.append(page.evaluate(FIRST_PAINT))
                context.close()
            print(f"{name:<13} first paint {median(paints):5.0f} ms, with its numbers {median(filled):5.0f} ms")
    return 0


if __name__ == "__main__":
    sys.exit(main())
