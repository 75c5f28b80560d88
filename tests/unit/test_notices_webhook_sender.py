"""
One attempt at a webhook, against real servers on this machine: what is sent, and what a bad or
hostile endpoint can do to us.
"""

from __future__ import annotations

import asyncio
import socket
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from typing import Any

import httpcore
import pytest
from standardwebhooks import Webhook as Reference
from tests.receivers import Answering, Inbox, receiver

from taximeter.adapters.delivery.guarded import resolve_host
from taximeter.adapters.delivery.webhook import WebhookSender
from taximeter.instants import SECOND
from taximeter.notices.delivery import Channel, Delivery, new_delivery
from taximeter.notices.notice import new_notice
from taximeter.notices.signature import Secret, format_secret
from taximeter.notices.webhook import Webhook
from taximeter.ports import Sent

SECRET = format_secret(b"k" * 32)
PUBLIC = "1.1.1.1"
AT = 1_795_000_000_000_000


def delivery() -> Delivery:
    notice = new_notice("default", "a.b", "acme", {"name": "Zoë"}, "k", AT)
    return new_delivery(notice, Channel.WEBHOOK, "ops", AT)


def real_now() -> int:
    return time.time_ns() // 1000


def send(url: str, *, times: int = 1, now: Callable[[], int] = real_now, **options: Any) -> Sent:
    """The last of some attempts by one sender, in house unless told otherwise."""
    options = {"allow_private": True, "timeout_s": 5.0} | options

    async def whole() -> Sent:
        sender = WebhookSender(now, **options)
        try:
            for _ in range(times):
                sent = await sender.send(delivery(), Webhook("ops", url, secrets=(Secret(SECRET),)))
            return sent
        finally:
            await sender.close()

    return asyncio.run(whole())


@pytest.fixture
def inbox() -> Iterator[Inbox]:
    with receiver() as found:
        yield found


# --- what is sent -------------------------------------------------------------------------------


def test_the_reference_library_verifies_what_arrives(inbox: Inbox) -> None:
    assert send(inbox.url) == Sent(200, response="ok")
    (got,) = inbox.got
    assert Reference(SECRET).verify(got.body, got.headers) == got.json()
    assert got.json() == {
        "type": "a.b", "timestamp": "2026-11-18T11:06:40Z", "data": {"name": "Zoë"},
    }  # fmt: skip
    assert got.headers["content-type"] == "application/json"
    assert got.headers["host"] == inbox.url.split("/")[2]


def test_each_attempt_has_the_same_id_and_its_own_time(inbox: Inbox) -> None:
    seconds = iter(range(100, 200))
    current = [0]

    def clock() -> int:
        current[0] = next(seconds)
        return current[0] * SECOND

    send(inbox.url, times=2, now=clock)
    first, second = inbox.got
    assert first.id == second.id == delivery().notice.id
    assert first.headers["webhook-timestamp"] < second.headers["webhook-timestamp"]
    assert first.headers["webhook-signature"] != second.headers["webhook-signature"]


def test_path_and_query_are_sent_as_they_were_given(inbox: Inbox) -> None:
    send(inbox.url + "/a%20b/c?x=1&y=%C3%A9")
    assert inbox.got[0].path == "/hooks/a%20b/c?x=1&y=%C3%A9"


def test_no_proxy_of_the_environment_is_used(inbox: Inbox, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("http_proxy", "https_proxy", "all_proxy", "HTTP_PROXY", "ALL_PROXY"):
        monkeypatch.setenv(name, "http://127.0.0.1:1")
    assert send(inbox.url).error is None


# --- what comes back ----------------------------------------------------------------------------


@pytest.mark.parametrize("status", [200, 201, 202, 204, 299])
def test_any_2xx_is_a_success(inbox: Inbox, status: int) -> None:
    inbox.answer = Answering(status, b"" if status == 204 else b"fine")
    assert send(inbox.url).error is None


@pytest.mark.parametrize("status", [301, 302, 307, 308])
def test_redirects_are_failures_and_not_followed(inbox: Inbox, status: int) -> None:
    inbox.answer = Answering(status, headers={"Location": inbox.url + "/elsewhere"})
    sent = send(inbox.url)
    assert sent.status == status
    assert "redirects are not followed" in (sent.error or "")
    assert len(inbox.got) == 1


def test_410_means_gone_and_a_busy_endpoint_says_when(inbox: Inbox) -> None:
    inbox.answer = Answering(410)
    assert send(inbox.url).is_gone
    inbox.answer = Answering(429, headers={"Retry-After": "120"})
    sent = send(inbox.url)
    assert (sent.is_busy, sent.retry_after, sent.is_gone) == (True, 120 * SECOND, False)


@pytest.mark.parametrize(
    ("value", "seconds"),
    [
        ("Wed, 21 Oct 2026 07:28:00 GMT", 60),
        ("Wed, 21 Oct 2020 07:28:00 GMT", 0),
        ("soon", 0),
        ("-5", 0),
        ("9" * 400, 999_999_999),
        ("Wed, 99 Oct 2026 07:28:00 GMT", 0),
    ],
)
def test_retry_after_may_be_a_date_or_nonsense(inbox: Inbox, value: str, seconds: int) -> None:
    inbox.answer = Answering(503, headers={"Retry-After": value})
    now = 1_792_567_620 * SECOND  # 07:27:00 on that day
    assert send(inbox.url, now=lambda: now).retry_after == seconds * SECOND


def test_only_the_beginning_of_an_answer_is_kept_and_nothing_that_moves_a_terminal(
    inbox: Inbox,
) -> None:
    inbox.answer = Answering(500, b"\x1b[2Jno\x00\r\n\xff" + b"x" * 5000)
    sent = send(inbox.url)
    assert len(sent.response) <= 1024
    assert sent.response.startswith("\ufffd[2Jno\ufffd")
    assert not any(ord(letter) < 32 and letter not in "\n\t" for letter in sent.response)


# --- hostile endpoints --------------------------------------------------------------------------


def endless(file: Any) -> None:
    file.write(b"HTTP/1.1 200 OK\r\n\r\n")
    block = b"x" * 65536
    with suppress(OSError):
        for _ in range(16_384):  # a gigabyte
            file.write(block)


def test_an_endless_answer_is_cut(inbox: Inbox) -> None:
    inbox.answer = Answering(write=endless)
    started = time.monotonic()
    assert send(inbox.url).status == 200
    assert time.monotonic() - started < 10


def trickle(file: Any) -> None:
    file.write(b"HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n\r\n")
    with suppress(OSError):
        for _ in range(100):
            file.write(b"x")
            file.flush()
            time.sleep(0.1)


def test_an_answer_byte_by_byte_ends_with_the_deadline_of_the_whole_attempt(inbox: Inbox) -> None:
    inbox.answer = Answering(write=trickle)
    started = time.monotonic()
    sent = send(inbox.url, timeout_s=0.5)
    assert "within 0.5 seconds" in (sent.error or "")
    assert time.monotonic() - started < 8


@pytest.mark.parametrize(
    "raw",
    [
        b"not http at all\r\n\r\n",
        b"",
        b"HTTP/1.1 200 OK\r\n" + b"x: y\r\n" * 100_000 + b"\r\n",
        b"HTTP/1.1 200 OK\r\nContent-Length: nonsense\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nshort",
        b"HTTP/1.1 99999 Huh\r\n\r\n",
    ],
)
def test_nonsense_is_a_failed_attempt_not_an_exception(inbox: Inbox, raw: bytes) -> None:
    def write(file: Any) -> None:
        with suppress(OSError):
            file.write(raw)

    inbox.answer = Answering(write=write)
    assert send(inbox.url).error


def test_a_compressed_answer_is_not_unpacked(inbox: Inbox) -> None:
    inbox.answer = Answering(200, b"\x1f\x8b" + b"\x00" * 500, {"Content-Encoding": "gzip"})
    assert send(inbox.url).status == 200
    assert inbox.got[0].headers["accept-encoding"] == "identity"


def test_nobody_listening_is_a_failed_attempt() -> None:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    sent = send(f"http://127.0.0.1:{port}/")
    assert sent.status is None
    assert sent.error


# --- where connections go -----------------------------------------------------------------------


@contextmanager
def trap() -> Iterator[tuple[int, list[Any]]]:
    """A port on this machine, and every connection made to it."""
    connections: list[Any] = []
    with socket.create_server(("127.0.0.1", 0)) as listener:
        listener.settimeout(0.05)
        done = threading.Event()

        def accept() -> None:
            while not done.is_set():
                try:
                    connection, address = listener.accept()
                except TimeoutError:
                    continue
                connections.append(address)
                connection.close()

        thread = threading.Thread(target=accept)
        thread.start()
        try:
            yield listener.getsockname()[1], connections
            time.sleep(0.1)
        finally:
            done.set()
            thread.join()


@pytest.mark.parametrize(
    "addresses",
    [["127.0.0.1"], ["::1", "127.0.0.1"], ["::ffff:127.0.0.1"], ["169.254.169.254"], ["0.0.0.0"]],
)
def test_a_public_name_that_leads_into_the_house_is_refused(addresses: list[str]) -> None:
    with trap() as (port, connections):
        sent = send(
            f"https://rebound.example.com:{port}/",
            allow_private=False,
            resolve=lambda host, _: addresses,
        )
    assert "not a public address" in (sent.error or "")
    assert connections == []


def test_the_address_that_was_looked_at_is_the_one_connected_to() -> None:
    """A name server that says something else the second time is asked only once."""
    asked: list[str] = []

    def rebinding(host: str, port: int) -> list[str]:
        asked.append(host)
        return ["203.0.113.1" if len(asked) > 1 else "127.0.0.1"]

    with receiver() as inbox:
        url = inbox.url.replace("127.0.0.1", "some.example.com")
        assert send(url, resolve=rebinding).error is None
        assert inbox.got[0].headers["host"].startswith("some.example.com:")
    assert asked == ["some.example.com"]


def test_a_private_address_among_public_ones_is_left_out(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    connected: list[str] = []

    async def connect(self: Any, host: str, *args: Any, **options: Any) -> Any:
        connected.append(host)
        raise httpcore.ConnectError("not in a test")

    monkeypatch.setattr(httpcore.AnyIOBackend, "connect_tcp", connect)
    with trap() as (port, connections):
        sent = send(
            f"https://mixed.example.com:{port}/",
            allow_private=False,
            resolve=lambda host, _: ["127.0.0.1", "10.0.0.1", PUBLIC],
        )
    assert sent.error == "not in a test."
    assert connected == [PUBLIC]
    assert connections == []


def test_a_url_from_before_the_rules_were_tightened_is_refused() -> None:
    with receiver() as inbox:
        sent = send(inbox.url, allow_private=False)
        assert "https only" in (sent.error or "")
        assert inbox.got == []


def test_a_name_server_that_does_not_answer_costs_the_connection_timeout(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    from taximeter.adapters.delivery import webhook

    monkeypatch.setattr(webhook, "CONNECT_TIMEOUT_S", 0.2)
    release = threading.Event()

    def hang(host: str, port: int) -> list[str]:
        release.wait(60)
        return []

    started = time.monotonic()

    async def whole() -> Sent:
        sender = WebhookSender(real_now, allow_private=True, resolve=hang)
        sent = await sender.send(
            delivery(), Webhook("ops", "http://slow.example/", secrets=(Secret(SECRET),))
        )
        release.set()
        await sender.close()
        return sent

    assert "not resolved in time" in (asyncio.run(whole()).error or "")
    assert time.monotonic() - started < 30


def test_hosts_that_are_never_resolved_do_not_hold_up_others(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    from taximeter.adapters.delivery import webhook

    monkeypatch.setattr(webhook, "CONNECT_TIMEOUT_S", 0.3)
    release = threading.Event()
    asked: list[str] = []

    def resolve(host: str, port: int) -> list[str]:
        asked.append(host)
        if host.startswith("slow"):
            release.wait(60)
        return ["127.0.0.1"]

    async def whole(url: str) -> list[Sent]:
        sender = WebhookSender(real_now, allow_private=True, resolve=resolve)
        slow = [f"http://slow{n % 5}.example/" for n in range(100)]
        started = [asyncio.create_task(sender.send(delivery(), Webhook("x", one))) for one in slow]
        await asyncio.sleep(0.05)
        quick = await sender.send(delivery(), Webhook("ops", url))
        sent = [quick, *await asyncio.gather(*started)]
        release.set()
        await sender.close()
        return sent

    with receiver() as inbox:
        quick, *others = asyncio.run(whole(inbox.url.replace("127.0.0.1", "quick.example")))
    assert quick.status == 200
    assert all("not resolved in time" in (sent.error or "") for sent in others)
    assert sorted(asked) == ["quick.example", *(f"slow{n}.example" for n in range(5))]


def test_an_unknown_name_is_a_failed_attempt() -> None:
    def unknown(host: str, port: int) -> list[str]:
        raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")

    sent = send("http://nowhere.example/", resolve=unknown)
    assert "nowhere.example has no address" in (sent.error or "")


def test_the_second_address_is_tried_when_the_first_does_not_answer(inbox: Inbox) -> None:
    port = int(inbox.url.split(":")[2].split("/")[0])
    with socket.socket() as refusing:  # bound and not listening: connections are refused at once
        refusing.bind(("127.0.0.2", port))
        url = inbox.url.replace("127.0.0.1", "two.example.com")
        sent = send(url, resolve=lambda host, _: ["127.0.0.2", "127.0.0.1"])
    assert sent.error is None


def test_the_real_resolver_gives_each_address_once() -> None:
    assert "127.0.0.1" in resolve_host("localhost", 80)
    found = resolve_host("127.1", 80)
    assert found == ["127.0.0.1"], "which is why the resolved address is looked at"
