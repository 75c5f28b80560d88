"""
Wallets against the ledger of credits: every transaction a wallet has made is in the books, once,
and the last one's balance is the wallet's.
"""

from __future__ import annotations

from collections.abc import Iterator
from fractions import Fraction

from taximeter.credits.wallet import Wallet
from taximeter.ports import WalletRows
from taximeter.quantities import E12, format_quantity
from taximeter.reconciliation.gap import Cause, Gap, Repair, Stage
from taximeter.services.core import Core
from taximeter.services.gate.ledger import Ledger
from taximeter.services.tenant import Tenant


async def gaps_of_wallets(core: Core, tenant: Tenant, ledger: Ledger) -> list[Gap]:
    """Of all wallets of a namespace."""
    position = core.sequencer.position
    made = {key: wallet.ordinal for key, wallet in _wallets(tenant)}
    await core.committer.settled(position)
    if core.committer.position < position:
        return []
    booked = await ledger.wallets(tenant.name)
    now = {key: (wallet.ordinal, wallet.balance_pico) for key, wallet in _wallets(tenant)}
    gaps: list[Gap] = []
    for key in sorted(made.keys() | booked.keys()):
        rows = booked.get(key, WalletRows(0, 0, 0))
        gaps += _gaps(key, rows, made.get(key, 0), now.get(key, (0, 0)))
    return gaps


def _wallets(tenant: Tenant) -> Iterator[tuple[tuple[str, str], Wallet]]:
    for customer, purse in tenant.live.gate.purses.items():
        for credit, wallet in purse.wallets.items():
            yield (customer, credit), wallet


def _gaps(key: tuple[str, str], rows: WalletRows, made: int, now: tuple[int, int]) -> Iterator[Gap]:
    customer, credit = key
    if rows.count != rows.last or rows.last < made:
        expected = max(made, rows.last)
        yield Gap(
            upstream=Stage.COUNTED,
            downstream=Stage.POSTED,
            cause=Cause.MISSING,
            expected=Fraction(expected),
            found=Fraction(rows.count),
            unit="transactions",
            customer=customer,
            target=credit,
            repair=Repair.REBUILD_LEDGER,
            detail=f"{expected - rows.count} transactions of {credit!r} are not in the ledger.",
        )
        return
    ordinal, balance_pico = now
    if rows.last == ordinal and rows.balance_pico != balance_pico:
        yield Gap(
            upstream=Stage.COUNTED,
            downstream=Stage.POSTED,
            cause=Cause.CODE,
            expected=Fraction(balance_pico, E12),
            found=Fraction(rows.balance_pico, E12),
            unit=credit,
            customer=customer,
            target=credit,
            repair=Repair.LOOK,
            detail=f"The ledger ends at {format_quantity(rows.balance_pico)}, "
            f"the wallet has {format_quantity(balance_pico)}.",
        )
