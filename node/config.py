"""config.toml: what an operator decides for one node. Everything that all nodes must agree on is in the genesis."""

from __future__ import annotations

import re
import tomllib
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from node.allowance import ClientLimits

LEAST_KEPT = 100  # blocks: what peers that were away for a moment ask for
LOG_LEVELS = ("debug", "info", "warning", "error")
LOG_FORMATS = ("console", "json")

TEMPLATE = """\
# A gridbft node. `gridbft start --home` reads this file once, at the start; every key may be left out except the first three.

name = {name}                      # as in the genesis; for people and logs
client_address = {client_address}   # host:port where clients connect (gRPC; in plain text only on the loopback)
peer_address = {peer_address}     # host:port where the other validators connect (mutual TLS, pinned certificates)
metrics_address = ""               # host:port for Prometheus, like "127.0.0.1:7301"; who reaches it can read it; "": off
observer = false                   # true: never votes, even where the chain counts this key among its validators
passphrase_file = ""               # unlocks node.key and tls.key: a file with the passphrase in line 1; "": environment or prompt
signer = ""                        # "unix:/path": the key and its guard are in the process `gridbft signer`; "": in this one

[clients]
tls = {tls}                        # true: clients connect by TLS only
certificate = ""                   # PEM chain shown to clients; "": tls.crt, which the genesis pins for this node
key = ""                           # its private key (PEM); "": tls.key
ca = ""                            # PEM certificates of CAs or of clients: clients must show one they vouch for; "": none asked
fingerprints = ""                  # a file of SHA-256 fingerprints, one a line: only those clients are let in; "": all
allow_plaintext = false            # true: no TLS, although client_address is not on the loopback (a TLS gateway stands before)

[limits]                           # of one client: its certificate where it shows one, else its address (IPv6: its /64)
requests_per_second = 5000         # calls and messages of streams; twice as many at once after a pause
transactions_per_second = 20000    # whose signatures are checked
bytes_per_second = 33554432        # received
faults_per_second = 100            # unreadable requests, malformed or wrongly signed transactions
calls_at_once = 1000               # under way, waiting ones included; also per connection
subscriptions = 64                 # streams of events
message_bytes = 4194304            # of one message
batch_transactions = 4000          # in one message of a stream

[consensus]
propose_ms = 1000                  # how long round 0 waits for a proposal; of one who is not connected: prevote_ms
prevote_ms = 300                   # how long it waits for more prevotes once two thirds voted
precommit_ms = 300                 # the same for precommits
delta_ms = 300                     # added to each of them in every further round
cap_ms = 10000                     # none of them ever grows beyond this
heartbeat_ms = 10000               # an idle network makes an empty block this often
proof_block_ms = 500               # a block with transactions is followed by one that proves them, at latest after this
caution_ms = 6000                  # a wiped validator rejoins a chain that stands still for it only after this long; a new chain waits as long for all

[storage]
snapshot_interval = 1000           # a snapshot of the state every so many heights; 0: none
snapshot_min_gap = 500             # a new node restores a snapshot only if it saves at least so many blocks
keep_blocks = 0                    # bodies of older blocks than the last so many are pruned; 0: all are kept

[log]
level = "info"                     # debug, info, warning or error
format = "console"                 # console for people, json for machines
"""


class ConfigError(ValueError):
    """One sentence: the key with its line, the value, and what was expected."""


@dataclass(frozen=True, slots=True)
class Config:
    """Addresses are host:port; durations are milliseconds."""

    name: str
    client_address: str
    peer_address: str
    propose_ms: int = 1_000
    prevote_ms: int = 300
    precommit_ms: int = 300
    delta_ms: int = 300
    cap_ms: int = 10_000
    heartbeat_ms: int = 10_000
    proof_block_ms: int = 500
    metrics_address: str = ""
    observer: bool = False
    passphrase_file: str = ""
    signer: str = ""
    client_tls: bool = False
    client_certificate: str = ""
    client_key: str = ""
    client_ca: str = ""
    client_fingerprints: str = ""
    allow_plaintext: bool = False
    limits: ClientLimits = ClientLimits()
    caution_ms: int = 6_000
    snapshot_interval: int = 1_000
    snapshot_min_gap: int = 500
    keep_blocks: int = 0
    log_level: str = "info"
    log_format: str = "console"


@dataclass(frozen=True, slots=True)
class _Key:
    """`field` of Config; `accepts` says whether a value will do, `expected` says it in words."""

    field: str
    expected: str
    accepts: Callable[[Any], bool]
    required: bool = False


def is_address(value: object) -> bool:
    """host:port with a port in 1..65535; an IPv6 host stands in brackets."""
    match = (
        re.fullmatch(r"(\[[0-9A-Fa-f:.]+\]|[A-Za-z0-9_.-]+):([0-9]{1,5})", value) if isinstance(value, str) else None
    )
    return match is not None and 1 <= int(match[2]) <= 65_535


def is_loopback(address: str) -> bool:
    """Whether only programs of this machine can reach it."""
    host = address.rpartition(":")[0].strip("[]")
    return host in ("localhost", "::1") or re.fullmatch(r"127\.[0-9]+\.[0-9]+\.[0-9]+", host) is not None


def _milliseconds(field: str, least: int, most: int) -> _Key:
    def accepts(value: Any) -> bool:
        return isinstance(value, int) and not isinstance(value, bool) and least <= value <= most

    return _Key(field, f"a whole number of milliseconds from {least} to {most}", accepts)


def _count(field: str, least: int = 1) -> _Key:
    """0 switches off what the key counts."""

    def accepts(value: Any) -> bool:
        return isinstance(value, int) and not isinstance(value, bool) and (value == 0 or least <= value <= 10**9)

    return _Key(field, f"0 or a whole number from {least} to {10**9}", accepts)


def _one_of(field: str, choices: tuple[str, ...]) -> _Key:
    return _Key(field, "one of " + ", ".join(f'"{c}"' for c in choices), lambda value: value in choices)


def _path(field: str) -> _Key:
    return _Key(field, "a path (relative ones start at the home), or nothing", lambda v: isinstance(v, str))


def _is_flag(value: Any) -> bool:
    return isinstance(value, bool)


_LIMIT_BOUNDS: dict[str, tuple[int, int]] = {
    "requests_per_second": (1, 10**6),
    "transactions_per_second": (1, 10**6),
    "bytes_per_second": (64 * 1024, 10**11),
    "faults_per_second": (1, 10**6),
    "calls_at_once": (1, 100_000),
    "subscriptions": (1, 10_000),
    "message_bytes": (512 * 1024, 8 * 1024 * 1024),
    "batch_transactions": (1, 4_000),
}


def _limit(name: str, least: int, most: int) -> _Key:
    def accepts(value: Any) -> bool:
        return isinstance(value, int) and not isinstance(value, bool) and least <= value <= most

    return _Key(_LIMIT + name, f"a whole number from {least} to {most}", accepts)


_LIMIT = "limits."
_ADDRESS = 'an address like "127.0.0.1:7101"'
_KEYS: dict[tuple[str, ...], _Key] = {
    ("name",): _Key(
        "name",
        "a name of 1 to 64 letters, digits, '.', '_' or '-'",
        lambda v: isinstance(v, str) and re.fullmatch(r"[A-Za-z0-9._-]{1,64}", v) is not None,
        required=True,
    ),
    ("client_address",): _Key("client_address", _ADDRESS, is_address, required=True),
    ("peer_address",): _Key("peer_address", _ADDRESS, is_address, required=True),
    ("metrics_address",): _Key(
        "metrics_address", _ADDRESS + ", or nothing", lambda value: value == "" or is_address(value)
    ),
    ("observer",): _Key("observer", "true or false", _is_flag),
    ("passphrase_file",): _path("passphrase_file"),
    ("signer",): _Key(
        "signer",
        'a socket like "unix:/run/gridbft/signer.sock", or nothing',
        lambda v: isinstance(v, str) and (v == "" or re.fullmatch(r"unix:[^\x00]+", v) is not None),
    ),
    ("clients", "tls"): _Key("client_tls", "true or false", _is_flag),
    ("clients", "certificate"): _path("client_certificate"),
    ("clients", "key"): _path("client_key"),
    ("clients", "ca"): _path("client_ca"),
    ("clients", "fingerprints"): _path("client_fingerprints"),
    ("clients", "allow_plaintext"): _Key("allow_plaintext", "true or false", _is_flag),
    **{("limits", name): _limit(name, *bounds) for name, bounds in _LIMIT_BOUNDS.items()},
    ("consensus", "propose_ms"): _milliseconds("propose_ms", 1, 60_000),
    ("consensus", "prevote_ms"): _milliseconds("prevote_ms", 1, 60_000),
    ("consensus", "precommit_ms"): _milliseconds("precommit_ms", 1, 60_000),
    ("consensus", "delta_ms"): _milliseconds("delta_ms", 0, 60_000),
    ("consensus", "cap_ms"): _milliseconds("cap_ms", 1, 600_000),
    ("consensus", "heartbeat_ms"): _milliseconds("heartbeat_ms", 100, 3_600_000),
    ("consensus", "proof_block_ms"): _milliseconds("proof_block_ms", 0, 60_000),
    ("consensus", "caution_ms"): _milliseconds("caution_ms", 1_000, 3_600_000),
    ("storage", "snapshot_interval"): _count("snapshot_interval"),
    ("storage", "snapshot_min_gap"): _count("snapshot_min_gap"),
    ("storage", "keep_blocks"): _count("keep_blocks", LEAST_KEPT),
    ("log", "level"): _one_of("log_level", LOG_LEVELS),
    ("log", "format"): _one_of("log_format", LOG_FORMATS),
}
_SECTIONS = {path[0] for path in _KEYS if len(path) == 2}


def config_template(name: str, client_address: str, peer_address: str) -> str:
    """The text of a new config.toml, every key explained. Clients from elsewhere get TLS."""
    return TEMPLATE.format(
        name=_quoted(name),
        client_address=_quoted(client_address),
        peer_address=_quoted(peer_address),
        tls="true" if is_address(client_address) and not is_loopback(client_address) else "false",
    )


def _quoted(value: str) -> str:
    return '"' + value.replace("\\", "\\\\").replace('"', '\\"') + '"'


def read_config(path: Path) -> Config:
    """Raises ConfigError for a file that is missing, unreadable or wrong."""
    try:
        text = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(f"{path} cannot be read: {error}") from error
    return parse_config(text, str(path))


def parse_config(text: str, where: str = "config.toml") -> Config:
    """Raises ConfigError; `where` names the file in its message."""
    try:
        raw = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise ConfigError(f"{where} is no valid TOML: {error}") from error
    except (ValueError, RecursionError) as error:  # a number of thousands of digits, or brackets without end
        raise ConfigError(f"{where} is no configuration: {error}") from error
    values: dict[str, Any] = {}
    for path, value in _flat(raw):
        key = _KEYS.get(path)
        if key is None and len(path) == 1 and path[0] in _SECTIONS:
            raise ConfigError(f"{_place(where, text, path)} is {value!r}, expected a section [{path[0]}]")
        if key is None:
            known = ", ".join(".".join(k) for k in _KEYS)
            raise ConfigError(f"{_place(where, text, path)} is not a key of this file; known: {known}")
        if not key.accepts(value):
            raise ConfigError(f"{_place(where, text, path)} is {value!r}, expected {key.expected}")
        values[key.field] = value
    for path, key in _KEYS.items():
        if key.required and key.field not in values:
            raise ConfigError(f"{where}: {'.'.join(path)} is missing, expected {key.expected}")
    limits = {name.removeprefix(_LIMIT): value for name, value in values.items() if name.startswith(_LIMIT)}
    others = {name: value for name, value in values.items() if not name.startswith(_LIMIT)}
    config = Config(**others, limits=ClientLimits(**limits))
    if config.client_address == config.peer_address:
        raise ConfigError(
            f"{where}: client_address and peer_address are both {config.peer_address!r}, expected two ports"
        )
    if config.metrics_address in (config.client_address, config.peer_address):
        raise ConfigError(
            f"{_place(where, text, ('metrics_address',))} is {config.metrics_address!r}, expected a port of its own"
        )
    if not (config.client_tls or config.allow_plaintext or is_loopback(config.client_address)):
        raise ConfigError(
            f"{_place(where, text, ('client_address',))} is {config.client_address!r}, which others can reach in plain "
            "text; expected an address on the loopback, or tls = true under [clients], or allow_plaintext = true there"
        )
    for first, second in (("certificate", "key"), ("key", "certificate")):
        if getattr(config, f"client_{first}") and not getattr(config, f"client_{second}"):
            raise ConfigError(f"{_place(where, text, ('clients', first))} is set, expected clients.{second} too")
    for name in ("certificate", "ca", "fingerprints"):
        if getattr(config, f"client_{name}") and not config.client_tls:
            raise ConfigError(f"{_place(where, text, ('clients', name))} is set, expected clients.tls = true then")
    if config.client_fingerprints and not config.client_ca:
        raise ConfigError(
            f"{_place(where, text, ('clients', 'fingerprints'))} is set, expected clients.ca too: it says whose "
            "certificates are asked for"
        )
    return config


def _flat(raw: dict[str, Any]) -> list[tuple[tuple[str, ...], Any]]:
    """Keys of the file with their section; a section is one table deep."""
    found: list[tuple[tuple[str, ...], Any]] = []
    for name, value in raw.items():
        is_section = isinstance(value, dict) and name in _SECTIONS
        found += [((name, inner), v) for inner, v in value.items()] if is_section else [((name,), value)]
    return found


def _place(where: str, text: str, path: tuple[str, ...]) -> str:
    """`file, line N: key`; the line is left out where the key is written in a way that a line search cannot find."""
    section = ""
    for number, line in enumerate(text.splitlines(), 1):
        header = re.match(r"\s*\[\s*([^\[\]]+?)\s*\]", line)
        if header:
            section = header[1]
            if len(path) == 1 and section == path[0]:
                return f"{where}, line {number}: [{path[0]}]"
        expected_section = path[0] if len(path) == 2 else ""
        if section == expected_section and re.match(rf"\s*[\"']?{re.escape(path[-1])}[\"']?\s*=", line):
            return f"{where}, line {number}: {'.'.join(path)}"
    return f"{where}: {'.'.join(path)}"
