"""
The ledger follows the log: what wallets booked is written down as soon as its entry is durable.

Nothing waits for it but who asks for history, and the snapshot: a snapshot never knows of a
transaction that the ledger has not, so that replaying the tail always gives what is missing.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any, TypeVar

from taximeter.errors import TaximeterError
from taximeter.gate.state import Booked
from taximeter.ports import AccountSum, LedgerBook, LedgerRow, WalletRows
from taximeter.services.intake.committer import Committer
from taximeter.services.tenant import Tenant

logger = logging.getLogger(__name__)
T = TypeVar("T")

ROWS_PER_WRITE = 20_000


class Ledger:
    """
    Args:
        tenants: Whose wallets are kept; new ones join it.
    """

    def __init__(self, book: LedgerBook, committer: Committer, tenants: dict[str, Tenant]) -> None:
        self._book = book
        self._committer = committer
        self._tenants = tenants
        self._executor = ThreadPoolExecutor(1, thread_name_prefix="ledger")
        self._writing = asyncio.Lock()

    @property
    def position(self) -> int:
        """Everything the log did up to here is booked."""
        return self._book.position

    async def catch_up(self, *, note_position: bool = False) -> None:
        """
        Book everything that is durable in the log.

        Args:
            note_position: Write down how far it came even if nothing was booked.

        Raises:
            Unavailable: The disk does not take it; it is kept for the next time.
        """
        async with self._writing:
            while True:
                position = self._committer.position
                rows, more = self._take(position)
                if not rows and not (note_position and position > self._book.position):
                    return
                try:
                    await self._run(self._book.append, rows, 0 if more else position)
                except TaximeterError:
                    self._give_back(rows)
                    raise
                if not more:
                    return

    async def follow(self) -> None:
        """`catch_up` from a task nobody waits for."""
        try:
            await self.catch_up()
        except TaximeterError as error:
            logger.warning("the ledger is behind: %s", error.message)

    async def transactions(
        self,
        namespace: str,
        customer: str,
        *,
        credit: str | None = None,
        start: int | None = None,
        end: int | None = None,
        after: int = 0,
        limit: int = 100,
    ) -> list[tuple[int, LedgerRow]]:
        await self.catch_up()
        return await self._run(
            lambda: self._book.transactions(
                namespace,
                customer,
                credit=credit,
                start=start,
                end=end,
                after=after,
                limit=limit,
            )
        )

    async def caused_by(self, namespace: str, seqs: Sequence[int]) -> list[LedgerRow]:
        await self.catch_up()
        return await self._run(self._book.caused_by, namespace, seqs)

    async def balance_pico_at(self, namespace: str, customer: str, credit: str, at: int) -> int:
        await self.catch_up()
        return await self._run(self._book.balance_pico_at, namespace, customer, credit, at)

    async def sums(self, namespace: str) -> list[AccountSum]:
        await self.catch_up()
        return await self._run(self._book.sums, namespace)

    async def wallets(self, namespace: str) -> dict[tuple[str, str], WalletRows]:
        await self.catch_up()
        return await self._run(self._book.wallets, namespace)

    async def restore(self, rows: Sequence[LedgerRow]) -> int:
        async with self._writing:
            return await self._run(self._book.restore, rows)

    def close(self) -> None:
        self._executor.shutdown(wait=True)

    def _take(self, position: int) -> tuple[list[LedgerRow], bool]:
        """Rows that may be written, and whether there are more of them."""
        rows: list[LedgerRow] = []
        for tenant in self._tenants.values():
            booked = tenant.live.gate.booked
            count = 0
            for one in booked:
                if one.seq > position or len(rows) == ROWS_PER_WRITE:
                    break
                rows.append(
                    LedgerRow(tenant.name, one.customer, one.credit, one.seq, one.transaction)
                )
                count += 1
            del booked[:count]
        return rows, len(rows) == ROWS_PER_WRITE

    def _give_back(self, rows: list[LedgerRow]) -> None:
        """Unwritten rows, in front of what has come since."""
        for tenant in self._tenants.values():
            own = [
                Booked(row.customer, row.credit, row.seq, row.transaction)
                for row in rows
                if row.namespace == tenant.name
            ]
            tenant.live.gate.booked[:0] = own

    async def _run(self, call: Callable[..., T], *arguments: Any) -> T:
        loop = asyncio.get_running_loop()
        return await loop.run_in_executor(self._executor, call, *arguments)
