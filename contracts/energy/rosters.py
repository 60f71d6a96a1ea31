"""Rosters: which meter each number of a column of readings belongs to.

A meter operator that reads thousands of meters sends their readings as columns, one number after the other and no names.
A roster gives the numbers their meaning: a list of meters in pages of 1,024, of which a column fills one.

A place keeps its meaning for ever, and with it what was read long ago. A roster grows at its end. A meter that leaves
is struck: it keeps its old place, at which no column has a reading any more. A meter stands on one roster at a time;
after it was struck it can join again, there or elsewhere, at a new place. So at every height at most one number of all
columns of a slot is a meter's; that none of another time is there as well is what `metering` sees to. An account has at
most 128 places, because settlement adds up what stands at them; meters beyond are read one by one.

A page has a number of its own among all pages, `roster * 2^18 + page of the roster`, and a place among all places,
`page * 1,024 + place on the page`. Feeding in is bounded by a meter's rating as in `metering`; a page keeps those bounds
as a column.
"""

from contracts.host import (
    Map,
    NamedTuple,
    Value,
    call,
    column_values,
    ctx,
    emit,
    export,
    fail,
    pack_column,
    require,
    sha256,
    view,
)

PAGE = 1_024  # meters, so that a column of a page has 4,096 bytes
PAGES = 262_144  # that a roster can have
MAX_ROSTERS = 16_383  # so that numbers of pages stay below 2^32
MAX_JOINING = 4_096  # meters in one call
MAX_PAGES = 64  # in one answer
MAX_OF_ACCOUNT = 128  # places of its meters: a settlement of 2,000 accounts a step must be able to add them up

Roster = NamedTuple("Roster", [("keeper", str), ("places", int), ("version", int)])
Page = NamedTuple(
    "Page",
    [
        ("number", int),
        ("export_limits_wh", bytes),  # a column: what each meter can feed in at most in a slot
        ("struck", list[int]),  # places on the page, in no order
        ("changed_height", int),  # when a meter joined it last
    ],
)

rosters: Map[int, Roster] = Map("rosters")  # by number, from 1
last_roster: Value[int] = Value("last_roster", 0)
pages: Map[int, Page] = Map("pages")
members: Map[int, list[str]] = Map("members")  # page -> meters, struck ones too
places: Map[str, list[int]] = Map("places")  # meter -> its places, of which all but the last are struck
account_places: Map[str, list[int]] = Map("account_places")  # account -> places of its meters, struck ones too


def export_limit_wh(rating_w: int) -> int:
    """As `metering` bounds a single reading: a quarter of an hour at the rating, and a tenth on top."""
    return rating_w * 11 // 40


def page_number(roster: int, page: int) -> int:
    return roster * PAGES + page


def hash_of(meters: list[str]) -> bytes:
    """Of a list of meters in its order: each one's code is hashed together with the hash of those before it."""
    found = b""
    for meter in meters:
        found = sha256(found + meter.encode())
    return found


def is_struck(place: int) -> bool:
    page = pages.get(place // PAGE, None)
    return page is not None and place % PAGE in page.struck


def fill(number: int, codes: list[str], facts: list[tuple[str, str, str, int]]) -> None:
    """Puts meters at the end of a page that has room for them."""
    before = pages.get(number, Page(number, b"", [], 0))
    standing = members.get(number, [])
    first = number * PAGE + len(standing)
    for offset, code in enumerate(codes):
        own = places.get(code, [])
        if len(own) > 0:
            require(is_struck(own[len(own) - 1]), "METER_ON_A_ROSTER")
        own.append(first + offset)
        places[code] = own
        account = facts[offset][0]
        of_account = account_places.get(account, [])
        require(len(of_account) < MAX_OF_ACCOUNT, "TOO_MANY_PLACES")
        of_account.append(first + offset)
        account_places[account] = of_account
    limits = column_values(before.export_limits_wh) + [export_limit_wh(fact[3]) for fact in facts]
    pages[number] = Page(number, pack_column(limits), before.struck, ctx.height)
    members[number] = standing + codes


@export
def open_roster() -> int:
    """A meter operator begins a roster, which it keeps. Returns its number."""
    require(call("registry", "has_role", ctx.caller, "METER_OPERATOR"), "NOT_METER_OPERATOR")
    roster = last_roster.get() + 1
    require(roster <= MAX_ROSTERS, "TOO_MANY_ROSTERS")
    last_roster.set(roster)
    rosters[roster] = Roster(ctx.caller, 0, 0)
    emit("RosterOpened", roster=roster, keeper=ctx.caller)
    return roster


@export
def enlist(roster: int, meters: list[str]) -> None:
    """The keeper puts meters at the end of its roster, at most 4,096 a call. A meter on a roster must be struck there first."""
    found = known(roster)
    require(found.keeper == ctx.caller, "NOT_YOUR_ROSTER")
    require(0 < len(meters) <= MAX_JOINING, "BATCH_SIZE")
    require(found.places + len(meters) <= PAGE * PAGES, "ROSTER_FULL")
    facts = call("registry", "meter_facts", meters)
    done = 0
    while done < len(meters):
        at = found.places + done
        end = min(done + PAGE - at % PAGE, len(meters))
        fill(page_number(roster, at // PAGE), meters[done:end], facts[done:end])
        done = end
    rosters[roster] = Roster(found.keeper, found.places + len(meters), found.version + 1)
    emit(
        "Enlisted",
        roster=roster,
        version=found.version + 1,
        first_place=found.places,
        meter_count=len(meters),
        meters_hash=hash_of(meters),
    )


@export
def strike(roster: int, meters: list[str]) -> None:
    """The keeper, or an operator, takes meters off a roster, at most 4,096 a call; what was read of them stays."""
    found = known(roster)
    if found.keeper != ctx.caller:
        require(call("registry", "has_role", ctx.caller, "OPERATOR"), "NOT_YOUR_ROSTER")
    require(0 < len(meters) <= MAX_JOINING, "BATCH_SIZE")
    for meter in meters:
        own = places.get(meter, [])
        require(len(own) > 0, "NOT_ON_THE_ROSTER")
        place = own[len(own) - 1]
        number = place // PAGE
        page = pages[number]
        require(number // PAGES == roster and place % PAGE not in page.struck, "NOT_ON_THE_ROSTER")
        page.struck.append(place % PAGE)
        pages[number] = page
        emit("Struck", roster=roster, meter=meter, place=place % (PAGES * PAGE), by=ctx.caller)
    rosters[roster] = Roster(found.keeper, found.places, found.version + 1)


def known(roster: int) -> Roster:
    found = rosters.get(roster, None)
    if found is None:
        fail("UNKNOWN_ROSTER")
    return found


@view
def roster(roster: int) -> Roster | None:
    """The roster's record, or None. Its version grows with every change."""
    return rosters.get(roster, None)


@view
def roster_count() -> int:
    """How many rosters there are; the last number."""
    return last_roster.get()


@view
def page_numbers(roster: int) -> tuple[int, int]:
    """(number of the roster's first page among all pages, how many pages it has): they follow one another."""
    return (page_number(roster, 0), (known(roster).places + PAGE - 1) // PAGE)


@view
def meters_of(page: int) -> list[str]:
    """The meters of a page by its number among all pages, place by place, struck ones too; empty where there is none."""
    return members.get(page, [])


@view
def roster_pages(roster: int, first: int, count: int) -> list[Page]:
    """Pages of a roster from its page `first` on, at most 64; refuses those that it does not have."""
    require(first >= 0 and 0 < count <= MAX_PAGES, "PAGE_OUT_OF_RANGE")
    require((first + count - 1) * PAGE < known(roster).places, "PAGE_OUT_OF_RANGE")
    return [pages[page_number(roster, page)] for page in range(first, first + count)]


@view
def places_of(meters: list[str]) -> list[list[int]]:
    """The places of each meter among all places, oldest first: all but the last are struck, and it may be."""
    return [places.get(meter, []) for meter in meters]


@view
def places_of_accounts(accounts: list[str]) -> list[list[int]]:
    """The places of each account's meters, struck ones too, in the order of joining."""
    return [account_places.get(account, []) for account in accounts]
