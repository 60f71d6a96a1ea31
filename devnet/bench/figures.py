"""From what a run measured to the figures that it prints."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from devnet.bench.gauges import percentile
from devnet.bench.options import Options
from node.stages import STAGES


@dataclass(frozen=True, slots=True)
class Measured:
    """`result` is what the load's process wrote; `alive` the nodes that ran to the end."""

    options: Options
    cores: int
    verify_us: float
    result: dict[str, Any]
    alive: tuple[int, ...]
    rss_mb: tuple[float, ...]
    stored_bytes: int  # by one node
    found_elsewhere: int
    looked_up: int
    agree: bool
    orders: int = 0  # whose placing another node's receipts tell
    orders_cleared: int = 0  # and whose gate has closed since
    readings: int = 0  # in what was final, each in a receipt with the hash of what was signed


def figures(measured: Measured) -> dict[str, Any]:
    """The benchmark's one line. Times are in the unit that their key names."""
    options, result = measured.options, measured.result
    due: dict[int, float] = result["due"]
    final: dict[int, float] = result["final"]
    latencies = sorted((final[place] - due[place]) * 1_000 for place in final if place in due)
    failed, refused = sum(result["failed"].values()), sum(result["refused"].values())
    good = len(final) - failed
    seconds = max(final.values(), default=result["begun"]) - result["begun"]
    tps = good / seconds if seconds else 0.0
    bound = measured.cores / (options.nodes * measured.verify_us * 1e-6)
    return {
        "workload": options.workload,
        "nodes": options.nodes,
        "tps": round(tps, 1),
        "readings_per_s": round(measured.readings / seconds) if seconds else 0,
        "p50_ms": _rounded(percentile(latencies, 0.5)),
        "p99_ms": _rounded(percentile(latencies, 0.99)),
        "verify_us": round(measured.verify_us, 1),
        "signature_bound_tps": round(bound),
        "ratio": round(tps / bound, 3),
        "cpu_us_per_tx": cpu_us_per_tx(measured, len(final)),
        "rss_mb_per_node": round(max(measured.rss_mb, default=0.0), 1),
        "disk_bytes_per_tx": round(measured.stored_bytes / len(final)) if final else None,
        "cores": measured.cores,
        "agree": measured.agree,
        "mode": "saturated" if options.rate is None else "open loop",
        "rate": options.rate,
        "accounts": options.accounts,
        "seconds": round(seconds, 1),
        "transactions": len(due),
        "final": len(final),
        "readings": measured.readings,
        "orders": measured.orders,
        "orders_cleared": measured.orders_cleared,
        "orders_per_s": round(measured.orders / seconds) if seconds else 0,
        "orders_per_tx": options.orders_per_tx,
        "per_block": round(len(final) / max(result["blocks"], 1), 1),
        "failed": result["failed"],
        "refused": result["refused"],
        "sent_again": result["sent_again"],
        "lost": len(due) - len(final) - refused,
        "looked_up": measured.looked_up,
        "killed": options.kill,
        "client_cpu_us_per_tx": round(result["client_cpu_us"] / len(final), 1) if final else None,
    }


def cpu_us_per_tx(measured: Measured, final: int) -> dict[str, float]:
    """The mean of the nodes that ran to the end; "other" is what the operating system counts beyond the stages."""
    spent = [measured.result["cpu"][index] for index in measured.alive]
    shares = {stage: sum(s.get(stage, 0) for s in spent) for stage in STAGES}
    shares["other"] = sum(s["total"] for s in spent) - sum(shares.values())
    return {stage: round(us / max(len(spent), 1) / max(final, 1), 1) for stage, us in shares.items()}


def _rounded(value: float | None) -> float | None:
    return None if value is None else round(value, 1)
