"""One network, one shortened day on it and one browser, for all tests that look at pages.

They are all in one module: playwright's event loop runs while its browser does, and tests elsewhere run loops of their own.
"""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import urlsplit

import pytest
from playwright.sync_api import Browser, ConsoleMessage, Error, Page, Request

from controlroom.browser import EXECUTABLE, chromium
from devnet.day import DATA, DEFAULT_DAY, read_files
from devnet.network import BASE_PORT_VARIABLE, Network, load_network
from devnet.page import page_url, stop_page
from devnet.processes import stop_nodes
from gridbft import BlockingClient, Wallet
from gridbft.requests import Limits
from tests.devnet.test_end_to_end import command, free_base_port

SLOTS = (46, 52)  # around noon
BUS = "62"  # with the largest roof
PASSPHRASE = "correct horse battery staple"
PATIENCE_MS = 60_000
INSTALLER = Path(__file__).resolve().parents[1] / "install-browser.sh"


@dataclass(frozen=True, slots=True)
class Room:
    """The served control room, and what was played behind it."""

    network: Network
    url: str
    slots: range
    owner: Wallet  # its key file `alice` may be unlocked

    def client(self) -> BlockingClient:
        return BlockingClient(self.network.addresses, limits=Limits(request_s=10.0))


@dataclass(slots=True)
class Visit:
    """A page that is looked at, and everything that it complained about or reached for."""

    page: Page
    url: str
    complaints: list[str] = field(default_factory=list)
    hosts: set[str] = field(default_factory=set)
    expected: set[str] = field(default_factory=set)  # parts of complaints that a test brings about itself

    def open(self, path: str) -> Page:
        self.page.goto(f"{self.url}#/{path}")
        return self.page

    def speak(self, language: str) -> None:
        """Chooses the language, once the page listens."""
        self.page.locator("nav a").first.wait_for()
        self.page.locator("#language").select_option(language)

    def figure(self, name: str) -> str:
        """The raw value of a number, once it is shown."""
        value = self.page.locator(f"[data-figure='{name}']:not([data-value=''])").first.get_attribute("data-value")
        assert value is not None
        return value

    def expect(self, name: str, value: object) -> None:
        """Waits until the number is this one."""
        found = self.page.locator(f"[data-figure='{name}'][data-value='{value}']").first
        try:
            found.wait_for(state="attached")
        except Error as error:
            shown = self.page.locator(f"[data-figure='{name}']").all()
            values = [one.get_attribute("data-value") for one in shown]
            raise AssertionError(f"{name} should be {value}, the page shows {values}") from error

    def reach(self, name: str, least: int) -> None:
        """Waits until a number that grows is at least this."""
        seen = "([name, least]) => Number(document.querySelector(`[data-figure='${name}']`)?.dataset.value) >= least"
        self.page.wait_for_function(seen, arg=[name, least])

    def fault(self) -> str:
        """What is wrong with the visit; empty where nothing is."""
        own = urlsplit(self.url).netloc
        strange = sorted(host for host in self.hosts if host != own)
        unexpected = [c for c in self.complaints if not any(part in c for part in self.expected)]
        return "; ".join([*unexpected, *(f"reached for {host}" for host in strange)])


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    """Debian's Chromium. Where it is missing and cannot be installed, tests fail; a person at a terminal may go without."""
    if not os.access(EXECUTABLE, os.X_OK):
        subprocess.run([str(INSTALLER)], check=False, timeout=600)
    if not os.access(EXECUTABLE, os.X_OK):
        if os.environ.get("CI") != "true" and sys.stdin is not None and sys.stdin.isatty():
            pytest.skip(f"no Chromium at {EXECUTABLE}")
        pytest.fail(f"no Chromium at {EXECUTABLE}: {INSTALLER.name} could not install it")
    with chromium() as launched:
        yield launched


@pytest.fixture(scope="module")
def room(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Room]:
    folder = tmp_path_factory.mktemp("room") / "net"
    # The control room's port is the one before the first node's.
    up = command("devnet.up", "--folder", str(folder), **{BASE_PORT_VARIABLE: str(free_base_port(4) + 1)})
    network = load_network(folder)
    assert network is not None, up.stdout + up.stderr
    try:
        assert up.returncode == 0, up.stdout + up.stderr
        assert page_url(network) in up.stdout, up.stdout + up.stderr
        first, last = SLOTS
        played = command("devnet.day", "--slots", f"{first}:{last}", "--network", str(folder / "network.json"))
        assert played.returncode == 0, played.stdout + played.stderr
        _, data = read_files(DATA, DEFAULT_DAY)
        slots = range(data.first_slot + first, data.first_slot + last)
        owner = network.participant(BUS)
        owner.save(network.keyring.path("alice"), PASSPHRASE)
        prepare(network, owner, slots)
        yield Room(network, page_url(network), slots, owner)
    finally:
        stop_page(folder)
        stop_nodes(network.nodes)


def prepare(network: Network, owner: Wallet, slots: range) -> None:
    """An envelope that the roof fills, one for a slot that is still open, and a proposal."""
    with BlockingClient(network.addresses, network.keyring.get("operator")) as operator:
        exported = operator.query("metering", "metered", owner.address, slots[2])[1]
        operator.call("grid", "set_envelope", owner.address, slots[2], 10**6, exported)
        operator.call("grid", "set_envelope", owner.address, slots.stop + 40, 5_000, 7_000)
    with BlockingClient(network.addresses, Wallet.load(network.nodes[0].home / "node.key")) as validator:
        validator.call("governance", "propose_parameter", "max_block_transactions", 3_999)


@pytest.fixture
def visit(browser: Browser, room: Room) -> Iterator[Visit]:
    """A fresh profile at the control room; at the end nothing may have been complained about or reached for elsewhere."""
    context = browser.new_context(
        viewport={"width": 1440, "height": 900}, locale="en-GB", reduced_motion="reduce", accept_downloads=True
    )
    context.set_default_timeout(PATIENCE_MS)
    page = context.new_page()
    one = Visit(page, room.url)

    def told(message: ConsoleMessage) -> None:
        if message.type in ("error", "warning"):
            one.complaints.append(f"console: {message.text} {message.location.get('url', '')}")

    def asked(request: Request) -> None:
        parts = urlsplit(request.url)
        if parts.scheme not in ("blob", "data"):
            one.hosts.add(parts.netloc)

    page.on("console", told)
    page.on("pageerror", lambda error: one.complaints.append(f"script: {error}"))
    page.on("request", asked)
    page.on("websocket", lambda socket: one.hosts.add(urlsplit(socket.url).netloc))
    yield one
    page.evaluate("0")  # what was complained about until now has arrived here with the answer
    fault = one.fault()
    context.close()  # what breaks off only because the visit ends is no fault
    assert fault == ""
