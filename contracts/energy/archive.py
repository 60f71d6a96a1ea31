"""The archive: what stays off the chain, and how anybody can check it.

Raw data (profiles by the second, documents, photographs of meters) stays with whoever keeps it. The chain holds the root
of its RFC 6962 tree, how many leaves it has, what it is about, and who may read it. Whoever is given a leaf with its path
can ask `includes` whether it belongs to the root; the keeper hands data only to those whom `may_read` names.
"""

from contracts.host import Map, NamedTuple, Value, call, ctx, emit, export, fail, replace, require, sha256, view

HASH_BYTES = 32
MAX_LEAVES = 2**48
MAX_PATH = 48
MAX_READERS = 1_000
MAX_SUBJECT_CHARACTERS = 128
MAX_SLOT = 100_000_000

Archive = NamedTuple(
    "Archive",
    [
        ("keeper", str),
        ("subject", str),
        ("first_slot", int),
        ("last_slot", int),
        ("root", bytes),
        ("leaf_count", int),
        ("posted_ms", int),
        ("reader_count", int),
    ],
)

archives: Map[int, Archive] = Map("archives")
archive_count: Value[int] = Value("archive_count", 0)
access: Map[tuple[int, str], bool] = Map("access")  # (archive, account)


# --- The rule: a plain function, also used away from the chain ---------------------------------------------------------


def leaf_belongs(root: bytes, leaf_count: int, index: int, leaf: bytes, path: list[bytes]) -> bool:
    """Whether the leaf stands at `index` of the tree of `leaf_count` leaves (RFC 9162, 2.1.3.2, with SHA-256)."""
    if index < 0 or index >= leaf_count:
        return False
    place = index
    last = leaf_count - 1
    found = sha256(b"\x00" + leaf)
    for sibling in path:
        if last == 0:
            return False
        if place % 2 == 1 or place == last:
            found = sha256(b"\x01" + sibling + found)
            while place % 2 == 0 and place != 0:
                place = place // 2
                last = last // 2
        else:
            found = sha256(b"\x01" + found + sibling)
        place = place // 2
        last = last // 2
    return last == 0 and found == root


# --- On the chain ------------------------------------------------------------------------------------------------------


def kept_by_caller(archive_id: int) -> Archive:
    found = archives.get(archive_id, None)
    if found is None:
        fail("UNKNOWN_ARCHIVE")
    require(found.keeper == ctx.caller, "NOT_YOUR_ARCHIVE")
    return found


@export
def post(subject: str, first_slot: int, last_slot: int, root: bytes, leaf_count: int, readers: list[str]) -> int:
    """A meter operator posts the root of data that it keeps about the slots. Returns the archive's id."""
    require(call("registry", "has_role", ctx.caller, "METER_OPERATOR"), "NOT_METER_OPERATOR")
    require(0 < len(subject) <= MAX_SUBJECT_CHARACTERS, "SUBJECT_LENGTH")
    require(0 <= first_slot <= last_slot <= MAX_SLOT, "SLOT_OUT_OF_RANGE")
    require(len(root) == HASH_BYTES, "NOT_A_HASH")
    require(0 < leaf_count <= MAX_LEAVES, "LEAVES_OUT_OF_RANGE")
    require(len(readers) <= MAX_READERS, "TOO_MANY_READERS")
    archive_id = archive_count.get() + 1
    archive_count.set(archive_id)
    for reader in readers:
        require((archive_id, reader) not in access, "ACCESS_STANDS")
        access[(archive_id, reader)] = True
    archives[archive_id] = Archive(
        ctx.caller, subject, first_slot, last_slot, root, leaf_count, ctx.time_ms, len(readers)
    )
    emit(
        "ArchivePosted",
        archive_id=archive_id,
        keeper=ctx.caller,
        subject=subject,
        first_slot=first_slot,
        last_slot=last_slot,
        root=root,
        leaf_count=leaf_count,
        readers=readers,
    )
    return archive_id


@export
def allow(archive_id: int, reader: str) -> None:
    """The keeper lets an account read."""
    found = kept_by_caller(archive_id)
    require((archive_id, reader) not in access, "ACCESS_STANDS")
    require(found.reader_count < MAX_READERS, "TOO_MANY_READERS")
    access[(archive_id, reader)] = True
    archives[archive_id] = replace(found, reader_count=found.reader_count + 1)
    emit("AccessAllowed", archive_id=archive_id, reader=reader)


@export
def withdraw(archive_id: int, reader: str) -> None:
    """The keeper lets an account read no longer."""
    found = kept_by_caller(archive_id)
    require((archive_id, reader) in access, "NO_ACCESS")
    del access[(archive_id, reader)]
    archives[archive_id] = replace(found, reader_count=found.reader_count - 1)
    emit("AccessWithdrawn", archive_id=archive_id, reader=reader)


@view
def archive(archive_id: int) -> Archive | None:
    """The archive's record, or None."""
    return archives.get(archive_id, None)


@view
def may_read(archive_id: int, account: str) -> bool:
    """Whether the keeper should hand the data to the account."""
    found = archives.get(archive_id, None)
    return found is not None and (found.keeper == account or (archive_id, account) in access)


@view
def includes(archive_id: int, index: int, leaf: bytes, path: list[bytes]) -> bool:
    """Whether the leaf is number `index` of the archive; `path` holds the sibling hashes from the leaf up."""
    found = archives.get(archive_id, None)
    require(len(path) <= MAX_PATH, "PATH_TOO_LONG")
    return found is not None and leaf_belongs(found.root, found.leaf_count, index, leaf, path)
