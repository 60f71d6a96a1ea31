"""The signer's guard: nothing leaves before it is durable, and nothing is ever signed two ways."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from nacl.signing import SigningKey

from consensus.types import NO_ROUND, BlockId, Height, Proposal, Round, ValidatorId, Vote, VoteKind
from node import ed25519
from node.signer import RECORD_BYTES, FileSigner, GuardError, Refused, position_of, sign_bytes_of
from tests.node.disks import FakeDisk, PowerCutError

CHAIN = "test-0000"
GUARD = Path("signer.log")
KEY = SigningKey(bytes(range(32)))
ME = ValidatorId(bytes(20))
ONE, TWO = BlockId(b"\x01" * 32), BlockId(b"\x02" * 32)


def _signature(message: bytes) -> bytes:
    return bytes(KEY.sign(message).signature)


def _signer(disk: FakeDisk, has_chain: bool = False) -> FileSigner:
    return FileSigner.open(CHAIN, _signature, GUARD, has_chain=has_chain, disk=disk)


def _vote(height: int, round_: int, kind: VoteKind, block_id: BlockId | None = ONE) -> Vote:
    return Vote(kind, Height(height), Round(round_), block_id, ME)


def _proposal(height: int, round_: int, block_id: BlockId = ONE) -> Proposal:
    return Proposal(Height(height), Round(round_), block_id, NO_ROUND, ME)


messages = st.builds(
    _vote, st.integers(1, 3), st.integers(0, 2), st.sampled_from(VoteKind), st.sampled_from([None, ONE, TWO])
) | st.builds(_proposal, st.integers(1, 3), st.integers(0, 2), st.sampled_from([ONE, TWO]))


def test_the_signature_is_the_keys_over_the_signed_bytes() -> None:
    signed = _signer(FakeDisk()).sign(_vote(5, 0, VoteKind.PREVOTE))
    assert isinstance(signed, Vote)
    assert ed25519.verify(bytes(KEY.verify_key), sign_bytes_of(CHAIN, signed), signed.signature)


def test_steps_are_ordered_proposal_prevote_precommit() -> None:
    one_round: list[Vote | Proposal] = [
        _proposal(1, 0),
        _vote(1, 0, VoteKind.PREVOTE),
        _vote(1, 0, VoteKind.PRECOMMIT),
        _proposal(1, 1),
    ]
    positions = [position_of(m) for m in one_round]
    assert positions == sorted(positions)
    assert len(set(positions)) == 4


def test_a_conflicting_message_is_refused_with_its_place() -> None:
    signer = _signer(FakeDisk())
    signer.sign(_vote(5, 1, VoteKind.PREVOTE, ONE))
    refused = signer.sign(_vote(5, 1, VoteKind.PREVOTE, None))
    assert refused == Refused("another message was signed at height 5, round 1, prevote")


def test_a_lower_step_is_refused() -> None:
    signer = _signer(FakeDisk())
    signer.sign(_vote(5, 1, VoteKind.PRECOMMIT))
    refused = signer.sign(_vote(5, 0, VoteKind.PREVOTE))
    assert isinstance(refused, Refused)
    assert "not above height 5, round 1, precommit" in refused.reason


@given(st.lists(messages | st.just("restart"), max_size=25))
def test_no_step_is_ever_signed_two_ways_whatever_is_asked_and_however_often_it_restarts(
    asked: list[Vote | Proposal | str],
) -> None:
    disk = FakeDisk()
    signer = _signer(disk)
    signed: dict[tuple[int, int, int], bytes] = {}
    highest = (0, 0, 0)
    for message in asked:
        if isinstance(message, str):
            disk = disk.after_power_cut()
            signer = _signer(disk, has_chain=True)
            continue
        answer = signer.sign(message)
        place, wanted = position_of(message), sign_bytes_of(CHAIN, message)
        if isinstance(answer, Refused):
            assert place <= highest
            assert signed.get(place) != wanted or place[0] < highest[0]
        else:
            assert signed.setdefault(place, wanted) == wanted
            assert answer.signature == _signature(wanted)
            highest = max(highest, place)
        assert signer.last == highest


def test_everything_of_the_height_at_hand_is_signed_again_after_a_restart() -> None:
    disk = FakeDisk()
    signer = _signer(disk)
    asked: list[Vote | Proposal] = [
        _proposal(5, 0),
        _vote(5, 0, VoteKind.PREVOTE),
        _vote(5, 0, VoteKind.PRECOMMIT, None),
    ]
    first = [signer.sign(m) for m in asked]
    again = _signer(disk.after_power_cut(), has_chain=True)
    assert [again.sign(m) for m in asked] == first


@given(st.integers(0, 12))
def test_no_signature_leaves_before_its_record_is_durable(cut_at: int) -> None:
    """Power goes at any disk operation: whatever was handed out is in what a restart reads."""
    disk = FakeDisk(cut_at)
    left: list[Vote] = []
    try:
        signer = _signer(disk)
        for height in range(1, 6):
            answer = signer.sign(_vote(height, 0, VoteKind.PREVOTE))
            assert isinstance(answer, Vote)
            left.append(answer)
    except PowerCutError:
        restarted = disk.after_power_cut()
        if left:
            assert _signer(restarted, has_chain=True).last == position_of(left[-1])
    for vote in left[-1:]:
        conflicting = _vote(vote.height, 0, VoteKind.PREVOTE, TWO)
        assert isinstance(_signer(disk.after_power_cut(), has_chain=True).sign(conflicting), Refused)


def test_a_record_that_could_not_be_written_is_not_answered_from_memory() -> None:
    disk = FakeDisk()
    signer = _signer(disk)
    disk.cut_at = len(disk.trace)
    vote = _vote(1, 0, VoteKind.PREVOTE)
    for _ in range(2):
        with pytest.raises(PowerCutError):
            signer.sign(vote)


def test_a_missing_guard_beside_a_chain_stops_the_start() -> None:
    with pytest.raises(GuardError, match="is missing, but this node's chain has begun"):
        _signer(FakeDisk(), has_chain=True)


def test_a_torn_last_record_is_dropped_because_its_signature_never_left() -> None:
    disk = FakeDisk()
    signer = _signer(disk)
    signer.sign(_vote(1, 0, VoteKind.PREVOTE))
    signer.sign(_vote(1, 0, VoteKind.PRECOMMIT))
    disk.files[GUARD] = disk.files[GUARD][: RECORD_BYTES + 7]
    assert _signer(disk, has_chain=True).last == (1, 0, 2)


@pytest.mark.parametrize(("records", "starts"), [(1, True), (2, False)])
def test_a_record_of_zeros_at_the_end_is_a_torn_one_and_two_are_damage(records: int, starts: bool) -> None:
    """A power cut can leave the file's new length without its data; one record at a time is appended."""
    disk = FakeDisk()
    _signer(disk).sign(_vote(1, 0, VoteKind.PREVOTE))
    disk.files[GUARD] += bytes(RECORD_BYTES * records)
    if starts:
        assert _signer(disk, has_chain=True).last == (1, 0, 2)
        return
    with pytest.raises(GuardError, match="is damaged"):
        _signer(disk, has_chain=True)


@given(st.data())
def test_a_flipped_byte_in_the_guard_stops_the_start(data: st.DataObject) -> None:
    disk = FakeDisk()
    signer = _signer(disk)
    for kind in VoteKind:
        signer.sign(_vote(9, 3, kind))
    raw = disk.files[GUARD]
    at = data.draw(st.integers(0, len(raw) - 1))
    disk.files[GUARD] = raw[:at] + bytes([raw[at] ^ data.draw(st.integers(1, 255))]) + raw[at + 1 :]
    with pytest.raises(GuardError, match="is damaged"):
        _signer(disk, has_chain=True)


def test_records_that_do_not_grow_stop_the_start() -> None:
    disk = FakeDisk()
    _signer(disk).sign(_vote(1, 0, VoteKind.PREVOTE))
    disk.files[GUARD] *= 2
    with pytest.raises(GuardError, match="is not above the one before it"):
        _signer(disk, has_chain=True)


def test_the_guard_stays_small_over_many_heights(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("node.signer.COMPACT_BYTES", 10 * RECORD_BYTES)
    disk = FakeDisk()
    signer = _signer(disk)
    for height in range(1, 101):
        signer.sign(_vote(height, 0, VoteKind.PREVOTE))
        assert len(disk.files[GUARD]) <= 10 * RECORD_BYTES
    assert _signer(disk.after_power_cut(), has_chain=True).last == (100, 0, 2)


def test_the_real_disk_keeps_a_guard(tmp_path: Path) -> None:
    path = tmp_path / "signer.log"
    signer = FileSigner.open(CHAIN, _signature, path, has_chain=False)
    signer.sign(_vote(4, 0, VoteKind.PREVOTE))
    signer.close()
    again = FileSigner.open(CHAIN, _signature, path, has_chain=True)
    assert isinstance(again.sign(_vote(4, 0, VoteKind.PREVOTE, TWO)), Refused)
    again.close()
    assert path.stat().st_mode & 0o077 == 0
