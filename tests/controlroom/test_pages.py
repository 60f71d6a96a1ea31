"""What a browser shows after a day was played is what the nodes answer; and what people may do there, they can do."""

from __future__ import annotations

import http.client
import json
import os
import re
import signal
from pathlib import Path
from urllib.parse import urlsplit

import pytest
from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import Error, Page, expect

from controlroom.screenshots import PAGES, READY
from devnet.processes import running_pid
from gridbft import BlockingClient
from gridbft.verify import verify
from tests.controlroom.conftest import PASSPHRASE, Room, Visit

expect.set_options(timeout=60_000)


def test_network_shows_where_every_node_stands(visit: Visit, room: Room) -> None:
    visit.open("network")
    with room.client() as client:
        visit.expect("network.roots", 1)
        for node in room.network.nodes:
            expect(visit.page.locator(f"[data-node='{node.name}'][data-state='ok']")).to_have_count(1)
        visit.expect("network.transactions", client.status().transactions)
        visit.reach("network.height", client.status().height)
        for node in room.network.nodes:
            visit.reach(f"node.{node.name}.height", client.status(node.client_address).height)
            assert int(visit.figure(f"node.{node.name}.height")) <= client.status(node.client_address).height
        members = {m["name"] for m in client.query("governance", "members")}
    for name in members:
        listed = visit.page.locator("section[aria-label='Members'] tbody td:first-child").get_by_text(name, exact=True)
        expect(listed).to_have_count(1)


def test_market_shows_each_slots_price_volume_and_imbalance(visit: Visit, room: Room) -> None:
    with room.client() as client:
        for slot in room.slots:
            visit.open(f"market?slot={slot}")
            product = client.query("market", "product", "feeder", slot)
            totals = client.query("imbalance", "slot_totals", slot)
            visit.expect("market.price", product[5] if product[6] else "")
            visit.expect("market.volume", product[6])
            visit.expect("market.imbalance", totals[2])
            visit.expect("market.imbalanceprice", totals[1])
        traded = sum(client.query("market", "product", "feeder", slot)[6] for slot in room.slots)
        visit.expect("market.daytraded", traded)
        orders = client.query("market", "orders_of_product", "feeder", room.slots[-1], 0, 1000)
        group = visit.page.locator("section[aria-label='Imbalance by balance group over the day'] tbody tr").first
        account = (group.locator("a").get_attribute("href") or "").partition("/participant/")[2].partition("?")[0]
        settled = [client.query("imbalance", "settlement", account, slot) for slot in room.slots]
        expect(group).to_contain_text(f"{sum(row[4] for row in settled) / 1000:,.3f} kWh")
    rows = visit.page.locator("section[aria-label='Order book of the slot'] tbody tr")
    expect(rows).to_have_count(len(orders))


def test_feeder_shows_what_was_metered_and_where_a_limit_binds(visit: Visit, room: Room) -> None:
    slot = room.slots[2]
    visit.open(f"feeder?slot={slot}")
    with room.client() as client:
        accounts = client.query("registry", "participants", 0, 1000)
        metered = client.query("metering", "metered_many", accounts, slot)
    visit.expect("feeder.import", sum(row[0] for row in metered))
    visit.expect("feeder.export", sum(row[1] for row in metered))
    visit.expect("feeder.transformer", sum(row[0] - row[1] for row in metered))
    expect(visit.page.locator(".feeder .bus")).to_have_count(96)
    expect(visit.page.locator(".feeder .bus .binds")).to_have_count(1)
    expect(visit.page.locator("section[aria-label='Operating envelopes'] tbody tr")).to_have_count(1)


def test_participant_shows_its_money_energy_certificates_and_an_explained_bill(visit: Visit, room: Room) -> None:
    account = room.owner.address
    visit.open(f"participant/{account}")
    with room.client() as client:
        balance, held, *_ = client.query("payments", "statement", account)
        rows = [client.query("imbalance", "settlement", account, slot) for slot in room.slots]
        visit.expect("participant.balance", balance)
        for place, name in enumerate(("sold", "bought", "import", "export")):
            if name != "sold":
                visit.expect(f"participant.{name}", sum(row[place] for row in rows))
        visit.expect("participant.held", client.query("certificates", "holding", account))
        minted = 2_000_000_000  # what a played day gives each participant
        visit.expect("participant.bill", balance + held - minted)
        line = visit.page.locator(".lines details").first
        line.locator("summary").click()
        tree = line.locator(".tree")
        expect(tree).to_contain_text("metered")
        reading = client.query("metering", "reading", "L001", room.slots[0])
        expect(tree).to_contain_text(
            f"reading of L001consumption {reading[0]:,}".replace("consumption", "import ")[:15]
        )


def test_certificates_show_the_contracts_totals_and_a_way_from_the_meter(visit: Visit, room: Room) -> None:
    visit.open("certificates/1")
    with room.client() as client:
        issued, retired = client.query("certificates", "totals")
        one = client.query("certificates", "certificate", 1)
        reading = client.query("metering", "reading", one[0], one[3])
    visit.expect("certificates.issued", issued)
    visit.expect("certificates.retired", retired)
    way = visit.page.locator("ol.way")
    expect(way.locator("li.metered")).to_contain_text(
        f"{reading[1] / 1000:,.3f} kWh" if reading[1] >= 1000 else f"{reading[1]} Wh"
    )
    expect(way.locator("li.issued")).to_have_count(1)


def test_explorer_shows_blocks_transactions_and_sources_as_the_node_has_them(visit: Visit, room: Room) -> None:
    with room.client() as client:
        block = next(b for h in range(1, 200) if (b := client.block(h)).receipts)
        receipt = block.receipts[0]
        version = next(c.version for c in client.contracts() if c.name == "market")
    visit.open(f"explorer/block/{block.height}")
    visit.expect("block.id", block.block_id)
    visit.expect("block.transactions", len(block.receipts))
    visit.page.get_by_role("link", name=receipt.tx_id[:12]).click()
    visit.expect("tx.gas", receipt.gas_used)
    visit.open("explorer/contract/market")
    visit.expect("contract.version", version)
    expect(visit.page.locator("pre.source")).to_contain_text("def place_order")
    visit.open("explorer")
    expect(visit.page.locator("#proposals tbody tr")).to_contain_text("max_block_transactions")


@pytest.mark.parametrize(
    ("words", "page"),
    [
        ("bus-62", "participant/"),
        ("G008", "participant/"),
        ("market", "explorer/contract/market"),
        ("dso-2", "network"),
    ],
)
def test_search_finds_anything_by_its_name(visit: Visit, room: Room, words: str, page: str) -> None:
    visit.open("explorer")
    visit.page.locator("#query").fill(words)
    visit.page.locator("#query").press("Enter")
    visit.page.wait_for_url(f"**/#/{page}*")


ROWS_ALIKE = {"exclude": [["tbody tr:nth-child(n+4)"], [".lines details:nth-child(n+3)"], [".bus:nth-child(n+4)"]]}
"""What repeats is looked at a few times, not a thousand times."""


RULES = {
    "light": {"resultTypes": ["violations"]},
    "dark": {"resultTypes": ["violations"], "runOnly": {"type": "rule", "values": ["color-contrast"]}},
}
"""The pages differ in nothing but their colours."""


@pytest.mark.parametrize("theme", ["light", "dark"])
def test_axe_finds_nothing_serious_on_any_page(visit: Visit, room: Room, theme: str) -> None:
    visit.page.add_init_script(f"localStorage.theme = '{theme}'")
    axe = Axe()
    found: list[str] = []
    for name in (*PAGES, "certificates/1", "explorer/contract/payments"):
        visit.open(f"{name}?slot={room.slots[1]}" if "/" not in name else name)
        visit.page.locator(READY[name.split("/")[0]]).first.wait_for()
        for violation in axe.run(visit.page, context=ROWS_ALIKE, options=RULES[theme]).response["violations"]:
            if violation["impact"] in ("serious", "critical"):
                places = [node["target"] for node in violation["nodes"]][:3]
                found.append(f"{name}: {violation['id']} ({violation['impact']}) {places}")
    assert found == []


def test_an_owner_unlocks_a_key_orders_cancels_and_retires(visit: Visit, room: Room) -> None:
    page, slot = visit.page, room.slots.stop + 40
    visit.expected |= {"403"}  # the wrong passphrase below
    visit.open(f"market?slot={slot}")
    unlock(page, "wrong")
    expect(page.locator("#dialog [role=alert]")).not_to_be_empty()
    page.locator("#passphrase").fill(PASSPHRASE)
    page.locator("#dialog button[type=submit]").click()
    expect(page.locator("#key")).to_contain_text(room.owner.name)
    expect(page.locator("#mine")).to_have_attribute("href", re.compile(f"#/participant/{room.owner.address}"))
    form = page.locator("#order-form")
    expect(form.locator("#order-slot")).to_have_value(
        str(slot)
    )  # what the page looks at; else the one after the last gate
    form.locator("#order-side").select_option("sell")
    form.locator("#order-limit").fill("0.15")
    form.locator("#order-quantity").fill("7001")
    expect(form.locator(".limits .bad")).to_have_count(1)  # the envelope allows 7,000: said before it is sent
    expect(form.get_by_role("button")).to_be_disabled()
    form.locator("#order-quantity").fill("6999")
    expect(form.locator(".limits .bad")).to_have_count(0)
    form.get_by_role("button").click()
    expect(form.locator("[role=status]")).to_contain_text("✓")
    with room.client() as client:
        ((number, order),) = client.query("market", "orders_of_product", "feeder", slot, 0, 10)
        assert (order[0], order[1], order[2], order[3]) == (room.owner.address, "sell", 6_999, 150_000)
        visit.open(f"participant/{room.owner.address}?slot={slot}")  # it came by the subscription, without a reload
        page.get_by_role("button", name="Cancel the order").click()
        expect(page.locator("section[aria-label='Orders'] .mark.cancelled")).to_have_count(1)
        assert client.query("market", "order", number)[6] == "CANCELLED"
        retire(visit, room)
    page.locator("#key").click()
    expect(page.locator("#key")).to_have_text("Unlock a key")


def unlock(page: Page, passphrase: str) -> None:
    page.locator("#key").click()
    page.locator("#keyname").select_option("alice")
    page.locator("#passphrase").fill(passphrase)
    page.locator("#dialog button[type=submit]").click()


def retire(visit: Visit, room: Room) -> None:
    """The owner has used up its own consumption of the day, so the form says that nothing may be retired; once a correction
    shows that it had consumed more, so much may be, and is."""
    page, form = visit.page, visit.page.locator("#dialog")
    visit.open(f"participant/{room.owner.address}")
    button = page.locator("section[aria-label='Certificates owned']").get_by_role("button", name="Retire").first
    button.click()
    expect(form).to_contain_text("at most 0 Wh")
    expect(form.locator("button[type=submit]")).to_be_disabled()
    title = form.locator("h2").text_content() or ""
    number = int(title.split()[-1])
    page.get_by_role("button", name="Close").click()
    with BlockingClient(room.network.addresses, room.network.keyring.get("meter-operator")) as meters:
        slot = meters.query("certificates", "certificate", number)[3]
        reads = [
            (m, r)
            for m in meters.query("registry", "meters_of", room.owner.address)
            if (r := meters.query("metering", "reading", m, slot))
        ]
        meter, reading = next((m, r) for m, r in reads if r[0] > 0 or r[1] == 0)
        meters.call("metering", "submit", [(meter, slot, reading[0] + 50, reading[1], "CORRECTED")])
        before = meters.query("certificates", "claimed_wh", room.owner.address, slot)
        button.click()
        expect(form).to_contain_text("at most 50 Wh")
        form.locator("#retire-quantity").fill("20")
        form.locator("button[type=submit]").click()
        expect(form.get_by_role("alert")).to_contain_text("✓ Retirement")
        assert meters.query("certificates", "claimed_wh", room.owner.address, slot) == before + 20
        assert meters.query("certificates", "retirement", meters.query("certificates", "retirement_count"))[0] == number
    page.get_by_role("button", name="Close").click()


def test_every_page_fits_a_telephone_and_a_small_screen_in_both_languages(visit: Visit, room: Room) -> None:
    """Nothing sticks out of the page, what is written in charts can be read, and the words of a page's address are seen."""
    page = visit.page
    faults = """(highest) => {
        const root = document.documentElement, found = [];
        if (root.scrollWidth > root.clientWidth) found.push(`wider by ${root.scrollWidth - root.clientWidth}`);
        if (document.querySelector('.top').getBoundingClientRect().height > highest) found.push('a high header');
        const here = document.querySelector('nav [aria-current]').getBoundingClientRect();
        if (here.left < 0 || here.right > innerWidth) found.push('the name of the page is out of sight');
        for (const text of document.querySelectorAll('.chart:not(.wide) svg text'))
            if (text.getBoundingClientRect().height < 10) found.push(`too small: ${text.textContent}`);
        return found;
    }"""
    for width, highest in ((400, 120), (1280, 60)):
        page.set_viewport_size({"width": width, "height": 900})
        for language in ("en", "zh"):
            visit.open("network")
            visit.speak(language)
            for name in PAGES:
                visit.open(name)
                page.locator(READY[name]).first.wait_for()
                try:
                    page.wait_for_function(f"(highest) => !({faults})(highest).length", arg=highest, timeout=10_000)
                except Error as error:
                    where = f"{name}, {width} pixels, {language}"
                    raise AssertionError(f"{where}: {page.evaluate(faults, highest)}") from error


def test_a_chart_is_drawn_anew_for_the_room_that_it_has(visit: Visit, room: Room) -> None:
    page, svg = visit.page, visit.page.locator("[data-chart='prices'] svg")
    visit.open("market")
    svg.wait_for()
    wide = svg.get_attribute("viewBox")
    page.set_viewport_size({"width": 420, "height": 900})
    expect(svg).not_to_have_attribute("viewBox", wide or "")
    box = svg.bounding_box()
    assert box is not None
    assert abs(box["width"] - float((svg.get_attribute("viewBox") or "").split()[2])) < 2  # as large as it is written


def test_an_account_with_only_a_role_has_a_page_and_a_name_that_nobody_has_is_told(visit: Visit, room: Room) -> None:
    page, operator = visit.page, room.network.keyring.get("operator")
    visit.open("explorer")
    page.locator("#query").fill(operator.address)
    page.locator("#query").press("Enter")
    page.wait_for_url(f"**/#/participant/{operator.address}*")
    expect(page.locator("main h1")).to_have_text("operator")
    with room.client() as client:
        visit.expect("participant.balance", client.query("payments", "statement", operator.address)[0])
    chooser = page.locator("#who")
    chooser.fill("nobody at all")
    chooser.press("Enter")
    expect(page.locator("main .tiles")).to_contain_text("No participant has this name")
    expect(page.locator("main .card:visible")).to_have_count(0)
    chooser.fill("bus-62")
    chooser.press("Enter")
    expect(page.locator("main h1")).to_have_text("bus-62")
    expect(page.locator("main .card:visible").first).to_be_visible()


def test_a_proof_is_downloaded_verified_and_refused_once_it_was_changed(
    visit: Visit, room: Room, tmp_path: Path
) -> None:
    page = visit.page
    visit.open("certificates")
    with page.expect_download() as started:
        page.locator("a[href^='/api/proof/']").first.click()
    proof = tmp_path / "a.proof"
    started.value.save_as(proof)
    verify(proof.read_bytes(), (room.network.folder / "genesis.json").read_text(encoding="utf-8"))
    page.locator("#proof").set_input_files(proof)
    good = page.locator("#drop[data-verdict=good]")
    expect(good).to_contain_text("certificates.Retired")
    expect(good).to_contain_text(re.compile(r"quantity[\d,.]+ k?Wh"))  # for people, not as a program has it
    expect(good).to_contain_text("slot of consumption2016-06-10 ")
    raw = bytearray(proof.read_bytes())
    raw[len(raw) // 2] ^= 1
    changed = tmp_path / "b.proof"
    changed.write_bytes(raw)
    page.locator("#proof").set_input_files(changed)
    expect(page.locator("#drop[data-verdict=bad]")).to_be_visible()


def test_charts_go_out_as_pictures_and_as_tables_with_the_same_numbers(
    visit: Visit, room: Room, tmp_path: Path
) -> None:
    page = visit.page
    visit.open("market")
    visit.figure("market.daytraded")
    chart = page.locator("[data-chart='volumes']")
    chart.locator("svg .bar").first.wait_for()
    with page.expect_download() as table:
        chart.locator("[data-export=csv]").click()
    table.value.save_as(tmp_path / "t.csv")
    lines = (tmp_path / "t.csv").read_text(encoding="utf-8-sig").splitlines()
    assert len(lines) == 97
    traded = [round(float(line.split(",")[1]) * 1000) for line in lines[1:]]
    with room.client() as client:
        for slot in room.slots:
            assert traded[slot - (room.slots.start - 46)] == client.query("market", "product", "feeder", slot)[6]
    for name in ("volumes", "curves"):
        with page.expect_download() as picture:
            page.locator(f"[data-chart='{name}'] [data-export=png]").click()
        picture.value.save_as(tmp_path / "p.png")
        assert (tmp_path / "p.png").read_bytes()[:8] == b"\x89PNG\r\n\x1a\n"


def test_chinese_and_dark_are_chosen_and_remembered(visit: Visit, room: Room) -> None:
    page = visit.page
    visit.open("market")
    visit.speak("zh")
    expect(page.locator("main h1")).to_have_text("市场")
    page.locator("#theme").click()
    page.reload()
    expect(page.locator("main h1")).to_have_text("市场")
    expect(page.locator("html")).to_have_attribute("data-theme", "dark")
    expect(page.locator("html")).to_have_attribute("lang", "zh-CN")
    for name in PAGES:
        visit.open(name)
        page.locator(READY[name]).first.wait_for()
    visit.open("network")
    expect(page.locator("nav a").first).to_have_text("网络")


def test_a_finished_day_runs_again(visit: Visit, room: Room) -> None:
    page, bar = visit.page, visit.page.locator("#slot")
    move = "(bar, slot) => { bar.value = slot; bar.dispatchEvent(new Event('input')); }"
    visit.open("feeder")
    visit.figure("feeder.import")
    page.locator("#playback select").last.select_option("16")
    with room.client() as client:
        accounts = client.query("registry", "participants", 0, 1000)
        for slot in (room.slots[0], room.slots[-1]):
            metered = client.query("metering", "metered_many", accounts, slot)
            bar.evaluate(move, slot)
            visit.expect("feeder.import", sum(row[0] for row in metered))
    bar.evaluate(move, room.slots[0])
    page.locator("#play").click()
    page.wait_for_function("() => document.getElementById('slot').value === document.getElementById('slot').max")
    expect(page.locator("#play")).to_contain_text("Play")


def test_everything_is_reached_by_keyboard(visit: Visit, room: Room) -> None:
    page = visit.page
    visit.open("network")
    page.locator("[data-node]").first.wait_for()
    page.keyboard.press("Tab")
    page.wait_for_function("() => document.activeElement.className === 'skip'")
    page.keyboard.press("Enter")
    page.wait_for_function("() => document.activeElement.id === 'main'")
    nav = page.locator("nav a", has_text="Market")
    nav.focus()
    page.keyboard.press("Enter")
    plot = page.locator("[data-chart='prices'] .plot")
    plot.locator("svg .curve").first.wait_for()
    plot.focus()
    page.keyboard.press("Home")
    expect(page.locator("[data-chart='prices'] .legend .at")).to_have_text("00:00")
    page.keyboard.press("ArrowRight")
    expect(page.locator("[data-chart='prices'] .legend .at")).to_have_text("00:15")
    visit.open("feeder")
    page.locator(".feeder svg").wait_for()
    chosen = page.locator(".feeder .bus.chosen")
    before = chosen.get_attribute("data-bus")
    assert before is not None
    page.locator(".feeder.plot").focus()
    page.keyboard.press("ArrowRight")
    expect(chosen).not_to_have_attribute("data-bus", before)


def test_keys_are_offered_to_nobody_who_comes_from_elsewhere(room: Room) -> None:
    place = urlsplit(room.url)

    def ask(method: str, path: str, headers: dict[str, str], body: str = "") -> tuple[int, dict[str, object]]:
        connection = http.client.HTTPConnection("127.0.0.1", place.port, timeout=60)
        connection.request(method, path, body, headers)
        response = connection.getresponse()
        answer = json.loads(response.read())
        assert "default-src 'none'" in (response.getheader("content-security-policy") or "")
        connection.close()
        return response.status, answer

    wish = json.dumps({"name": "alice", "passphrase": PASSPHRASE})
    ours = {"x-control-room": "1"}
    for headers in ({}, {**ours, "origin": "http://example.org"}, {**ours, "host": "room.example.org"}):
        assert ask("POST", "/api/unlock", headers, wish)[0] == 403
    assert ask("GET", "/api/key", {"host": "room.example.org"})[1] == {"offered": False, "keys": [], "unlocked": None}
    assert ask("POST", "/api/order", ours, "{}")[0] in (400, 403)
    assert ask("POST", "/api/unlock", ours, "x" * 20_000)[0] == 400
    assert ask("GET", "/api/block?height=99999999", {})[0] == 404
    assert ask("GET", "/api/transaction?tx_id=zz", {})[0] == 400


def test_one_dead_node_is_seen_at_a_glance_and_the_page_goes_on(visit: Visit, room: Room) -> None:
    """The node that the server followed; the subscription goes on at the next one. The last test: the node stays dead."""
    visit.open("network")
    node = room.network.nodes[0]
    visit.page.locator(f"[data-node='{node.name}'][data-state='ok']").wait_for()
    pid = running_pid(node)
    assert pid is not None
    os.kill(pid, signal.SIGKILL)
    dead = visit.page.locator(f"[data-node='{node.name}'][data-state='silent']")
    dead.wait_for()
    expect(dead).to_contain_text("does not answer")
    expect(visit.page.locator("#pulse")).to_contain_text(f"only 3 of 4 nodes, without {node.name}")
    with room.client() as client:
        height = client.status().height
        visit.page.wait_for_function(
            "(height) => Number(document.querySelector('[data-figure=\"network.height\"]').dataset.value) > height",
            arg=height,
        )
