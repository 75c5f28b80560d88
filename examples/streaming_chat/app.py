"""
A chat that streams tokens against prepaid credit, and shows the credit fall while it does.

    python app.py [--port 8000]        # needs a Taximeter at TAXIMETER_URL
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from decimal import Decimal
from pathlib import Path

import uvicorn
from fastapi import Body, Depends, FastAPI
from fastapi.responses import FileResponse, StreamingResponse
from fastapi.staticfiles import StaticFiles
from model import answer
from office import CREDIT, CUSTOMER, Office

from taximeter_sdk import AsyncHold, AsyncTaximeter
from taximeter_sdk.fastapi import install

PAGE = Path(__file__).with_name("page")
MOST = 400
"""Tokens of one answer at most."""
BLOCK = 20
"""Tokens reserved at a time."""
PAUSE_S = float(os.environ.get("CHAT_PAUSE_S", "0.04"))


class Till:
    """The visitor's credit as the page shows it: the balance, less what open answers have used."""

    def __init__(self, meter: AsyncTaximeter) -> None:
        self._meter = meter
        self._balance = Decimal(0)
        self._answers: set[AsyncHold] = set()
        self._changed = asyncio.Condition()

    @property
    def left(self) -> Decimal:
        return self._balance - sum(hold.used for hold in self._answers)

    async def refresh(self) -> None:
        """Ask the server; reserved credit is not spent yet, so it still belongs to the visitor."""
        reserved = sum(hold.granted for hold in self._answers)
        self._balance = await self._meter.balance(CUSTOMER, CREDIT) + reserved
        await self.show()

    async def follow(self) -> None:
        """Usage that comes from elsewhere shows, too."""
        async for _ in self._meter.watch(CUSTOMER):
            if not self._answers:
                await self.refresh()

    async def show(self) -> None:
        async with self._changed:
            self._changed.notify_all()

    @asynccontextmanager
    async def answering(self, hold: AsyncHold) -> AsyncIterator[None]:
        self._answers.add(hold)
        try:
            yield
        finally:
            self._balance -= hold.used
            self._answers.discard(hold)
            await self.show()

    async def numbers(self) -> AsyncIterator[str]:
        """Server-Sent Events, one for each change."""
        while True:
            yield f"data: {json.dumps({'left': str(self.left)})}\n\n"
            async with self._changed:
                await self._changed.wait()


def make_app() -> FastAPI:
    meter = AsyncTaximeter(source="streaming-chat")
    till = Till(meter)
    office = Office()

    @asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[None]:
        await asyncio.to_thread(office.open)
        await till.refresh()
        following = asyncio.create_task(till.follow())
        yield
        following.cancel()
        await meter.close()

    app = FastAPI(lifespan=lifespan)
    install(app)  # a visitor without credit gets a 402 that says so
    app.mount("/page", StaticFiles(directory=PAGE))

    @app.get("/")
    def page() -> FileResponse:
        return FileResponse(PAGE / "index.html")

    async def reservation() -> AsyncIterator[AsyncHold]:
        """
        Credit for one answer. Refused, the visitor gets a 402 before the first word; left in
        whatever way, also by closing the page, what was used is settled.
        """
        async with (
            meter.reserve(CUSTOMER, "chat", up_to=MOST, block=BLOCK) as hold,
            till.answering(hold),
        ):
            yield hold

    @app.post("/chat")
    async def chat(
        prompt: str = Body(embed=True), hold: AsyncHold = Depends(reservation)
    ) -> StreamingResponse:
        async def lines() -> AsyncIterator[str]:
            cut = False
            async for word in answer(prompt, PAUSE_S):
                cut = not await hold.take()
                if cut:
                    break
                await till.show()
                yield json.dumps({"word": word}) + "\n"
            yield json.dumps({"cut": cut, "used": str(hold.used)}) + "\n"

        return StreamingResponse(lines(), media_type="application/x-ndjson")

    @app.get("/balance")
    async def balance() -> StreamingResponse:
        return StreamingResponse(till.numbers(), media_type="text/event-stream")

    @app.post("/top-up")
    async def top_up() -> dict[str, str]:
        await asyncio.to_thread(office.top_up)
        await till.refresh()
        return {"left": str(till.left)}

    return app


def main() -> None:
    arguments = argparse.ArgumentParser(description=__doc__.splitlines()[1])
    arguments.add_argument("--port", type=int, default=8000)
    port = arguments.parse_args().port
    print(f"streaming chat on http://127.0.0.1:{port}", flush=True)
    # Open pages listen for ever; do not wait for them at the end.
    uvicorn.run(make_app(), port=port, log_level="warning", timeout_graceful_shutdown=1)


if __name__ == "__main__":
    main()
