"""Who takes part, with which meters, within which limits and at which tariffs, as the chain's events tell it."""

from __future__ import annotations

from dataclasses import dataclass, field

from gridbft.history import Happened

EVERY_SLOT = -1
NO_LIMIT = -1


@dataclass(frozen=True, slots=True)
class Participant:
    account: str
    name: str
    number: int


@dataclass(frozen=True, slots=True)
class Meter:
    code: str
    account: str
    kind: str
    bus: str
    rating_w: int


@dataclass(slots=True)
class People:
    participants: dict[str, Participant] = field(default_factory=dict)
    meters: dict[str, Meter] = field(default_factory=dict)
    meters_of: dict[str, list[Meter]] = field(default_factory=dict)
    roles: dict[str, set[str]] = field(default_factory=dict)  # account -> roles
    envelopes: dict[tuple[str, int], tuple[int, int]] = field(
        default_factory=dict
    )  # (account, slot) -> import, export Wh
    tariffs: dict[str, tuple[int, int]] = field(default_factory=dict)  # supplier -> takes, gives; micros per kWh

    def absorb(self, event: Happened) -> None:
        f = event.fields
        match event.kind:
            case ("registry", "ParticipantRegistered"):
                self.participants[f["account"]] = Participant(f["account"], f["participant_name"], f["number"])
            case ("registry", "MeterRegistered"):
                meter = Meter(f["meter"], f["account"], f["kind"], f["bus"], f["rating_w"])
                self.meters[meter.code] = meter
                self.meters_of.setdefault(meter.account, []).append(meter)
            case ("registry", "RoleGranted"):
                self.roles.setdefault(f["account"], set()).add(f["role"])
            case ("registry", "RoleRevoked"):
                self.roles.get(f["account"], set()).discard(f["role"])
            case ("grid", "EnvelopeSet"):
                self.envelopes[f["account"], f["slot"]] = (f["import_wh"], f["export_wh"])
            case ("resort", "TariffSet"):
                self.tariffs[f["supplier"]] = (f["takes_micros_per_kwh"], f["gives_micros_per_kwh"])
            case _:
                pass

    def envelope(self, account: str, slot: int) -> tuple[int, int]:
        """(import_wh, export_wh) of the connection in the slot, the tighter of what holds always and then; -1: no limit."""
        none = (NO_LIMIT, NO_LIMIT)
        standing = self.envelopes.get((account, EVERY_SLOT), none)
        here = self.envelopes.get((account, slot), none)
        return _tighter(standing[0], here[0]), _tighter(standing[1], here[1])

    def name(self, account: str) -> str:
        """For people: the registered name, the roles, or the beginning of the address."""
        known = self.participants.get(account)
        if known is not None:
            return known.name
        roles = self.roles.get(account)
        if roles:
            return ", ".join(sorted(role.lower().replace("_", " ") for role in roles))
        return account if len(account) != 40 else account[:10]


def _tighter(one_wh: int, other_wh: int) -> int:
    if one_wh == NO_LIMIT:
        return other_wh
    return one_wh if other_wh == NO_LIMIT else min(one_wh, other_wh)
