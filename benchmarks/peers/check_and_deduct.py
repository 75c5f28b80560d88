"""
Check and deduct in Redis, by Lua scripts: the usual way to hold a balance under concurrency.

The scripts do what the gate does for the same request: an id that was seen gives its first answer;
a balance less what is held must cover the cost; usage is counted; the answer has its place in the
order and what is left. A reservation sets cost aside with an end, settling pays and frees the rest.

They are called by `EVALSHA` from the load generator itself, with nothing in front. What is not
here: authentication and HTTP, plans, limits, levels and rates, grants that expire in an order of
their own, a ledger, a log of usage to bill from, holds that lapse by themselves (the list of their
ends is kept, nobody reads it), and durability of an answer unless every write is synced.
"""

from __future__ import annotations

from urllib.parse import urlsplit

from benchmarks import bodies
from benchmarks.bodies import Requests
from benchmarks.gate_bodies import GRANT, PRICE_CENTS, RESERVED, USED, rows

SEEN_S = 35 * 86_400

CONSUME = f"""
local first = redis.call('GET', KEYS[1])
if first then return first end
local wallet = redis.call('HMGET', KEYS[2], 'balance', 'held')
local balance, held, cost = tonumber(wallet[1] or 0), tonumber(wallet[2] or 0), tonumber(ARGV[1])
if balance - held < cost then
  return cjson.encode({{allowed = false, reason = 'insufficient_credit',
    available = balance - held}})
end
balance = redis.call('HINCRBY', KEYS[2], 'balance', -cost)
redis.call('HINCRBY', KEYS[2], 'used', ARGV[2])
local answer = cjson.encode({{allowed = true, reason = 'credit_available', balance_after = balance,
  available_after = balance - held, seq = redis.call('INCR', 'seq')}})
redis.call('SET', KEYS[1], answer, 'EX', {SEEN_S})
return answer
"""

RESERVE = f"""
local first = redis.call('GET', KEYS[1])
if first then return first end
local wallet = redis.call('HMGET', KEYS[2], 'balance', 'held')
local balance, held, cost = tonumber(wallet[1] or 0), tonumber(wallet[2] or 0), tonumber(ARGV[1])
if balance - held < cost then
  return cjson.encode({{allowed = false, reason = 'insufficient_credit',
    available = balance - held}})
end
held = redis.call('HINCRBY', KEYS[2], 'held', cost)
local now = redis.call('TIME')
local expires = now[1] + ARGV[3]
redis.call('HSET', KEYS[3], 'cost', cost, 'units', ARGV[2], 'expires', expires)
redis.call('ZADD', 'expiries', expires, KEYS[3])
local answer = cjson.encode({{status = 'open', granted = ARGV[2], expires = expires,
  balance_after = balance, available_after = balance - held, seq = redis.call('INCR', 'seq')}})
redis.call('SET', KEYS[1], answer, 'EX', {SEEN_S})
return answer
"""

SETTLE = f"""
local hold = redis.call('HMGET', KEYS[1], 'cost', 'units', 'expires')
if not hold[1] then return cjson.encode({{error = 'already_resolved'}}) end
local now = redis.call('TIME')
if tonumber(hold[3]) <= tonumber(now[1]) then
  return cjson.encode({{error = 'reservation_expired'}})
end
if tonumber(ARGV[1]) > tonumber(hold[2]) then
  return cjson.encode({{error = 'exceeds_reservation'}})
end
local cost = hold[1] * ARGV[1] / hold[2]
local balance = redis.call('HINCRBY', KEYS[2], 'balance', -cost)
local held = redis.call('HINCRBY', KEYS[2], 'held', -hold[1])
redis.call('HINCRBY', KEYS[2], 'used', ARGV[1])
redis.call('DEL', KEYS[1])
redis.call('ZREM', 'expiries', KEYS[1])
redis.call('SET', KEYS[1] .. ':settled', ARGV[1], 'EX', {SEEN_S})
return cjson.encode({{status = 'settled', settled = ARGV[1], balance_after = balance,
  available_after = balance - held, seq = redis.call('INCR', 'seq')}})
"""


class Scripts:
    """The scripts in one server, and the requests that call them."""

    def __init__(self, url: str) -> None:
        import redis

        parts = urlsplit(url)
        assert parts.hostname is not None
        assert parts.port is not None
        self.address = parts.hostname, parts.port
        self._redis = redis.from_url(url)
        load = self._redis.script_load
        self._consume, self._reserve, self._settle = map(load, (CONSUME, RESERVE, SETTLE))
        with self._redis.pipeline(transaction=False) as pipe:
            for number in range(bodies.CUSTOMERS):
                pipe.hset(f"wallet:{bodies.customer(number)}", "balance", GRANT * 100)
            pipe.execute()

    def consumes(self, count: int, customers: int, seed: int) -> Requests:
        call = _call(self._consume, ["seen:" + _ID, _WALLET], [PRICE_CENTS, 1])
        return rows([call], count, customers, seed)

    def reservations(self, count: int, customers: int, seed: int) -> Requests:
        hold = "hold:" + _ID
        reserve = _call(
            self._reserve, ["seen:" + _ID, _WALLET, hold], [PRICE_CENTS * RESERVED, RESERVED, 120]
        )
        settle = _call(self._settle, [hold, _WALLET], [USED])
        # A word more than the script reads makes the shorter call as long as the other.
        missing = len(reserve) - len(settle)
        settle = _call(self._settle, [hold, _WALLET], [USED, "x" * (missing - len("$00\r\n\r\n"))])
        return rows([reserve, settle], count, customers, seed)

    def spent_cents(self) -> int:
        """What all wallets have paid."""
        with self._redis.pipeline(transaction=False) as pipe:
            for number in range(bodies.CUSTOMERS):
                pipe.hget(f"wallet:{bodies.customer(number)}", "balance")
            return sum(GRANT * 100 - int(balance) for balance in pipe.execute())


_ID = "I" * 16
_WALLET = "wallet:customer-CCCCC"


def _call(script: str, keys: list[str], arguments: list[int | str]) -> bytes:
    words = ["EVALSHA", script, str(len(keys)), *keys, *map(str, arguments)]
    lines = [f"*{len(words)}", *(line for word in words for line in (f"${len(word)}", word))]
    return ("\r\n".join(lines) + "\r\n").encode()
