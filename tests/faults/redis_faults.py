"""What may happen to Redis: F6 to F9 of the fault matrix. Nobody may notice any of it."""

from __future__ import annotations

import contextlib
import os
from typing import TYPE_CHECKING

import redis

from tests.faults.stage import BadLine, Impostor, in_place_of_valkey, moved, stopped
from tests.faults.test_kills import kill

if TYPE_CHECKING:
    from tests.faults.stage import Stage


def redis_killed(stage: Stage) -> None:
    """F6."""
    kill(stage.valkey)
    stage.paying.more(60)
    stage.servers.ensure()


def redis_absent_at_boot(stage: Stage) -> None:
    """F6: workers that begin without it, and find it later."""
    kill(stage.valkey)
    stage.reload()
    stage.paying.more(40)
    stage.servers.ensure()


def redis_is_another_service(stage: Stage) -> None:
    """F6: a web server has its place."""
    with in_place_of_valkey(stage, Impostor):
        stage.paying.more(60)


def redis_stopped(stage: Stage) -> None:
    """F7: a hung Redis, until the breaker has opened and served without it."""
    with stopped(stage.valkey):
        stage.paying.more(80)


def redis_slow(stage: Stage) -> None:
    """F7: 40 ms a trip, which is just below the limit: the breaker may flap."""
    _behind_a_bad_line(stage, delay_s=0.04)


def redis_flaky(stage: Stage) -> None:
    """F7: every third call or so is cut."""
    _behind_a_bad_line(stage, lost=0.3)


def redis_flushed(stage: Stage) -> None:
    """F8: FLUSHALL and SCRIPT FLUSH each 100 ms."""
    with stage.kv as kv:
        for _ in range(10):
            kv.flushall()
            kv.script_flush()
            stage.pause(0.1)


def redis_evicts(stage: Stage) -> None:
    """F8: less memory than is in use: keys go, and if there are none left, writes are refused."""
    with stage.kv as kv:
        before = kv.info("stats")["evicted_keys"]
        kv.config_set("maxmemory", kv.info("memory")["used_memory"] - 50_000)
        stage.paying.more(100)
        kv.config_set("maxmemory", "64mb")
        assert kv.info("stats")["evicted_keys"] > before


def redis_full_of_rubbish(stage: Stage) -> None:
    """F8: every key there is holds something else, of another type too."""
    with stage.kv as kv:
        for number in range(10):
            for key in kv.scan_iter(count=1000):
                if number % 2:
                    kv.set(key, os.urandom(stage.chance.randint(1, 90)))
                else:
                    with contextlib.suppress(redis.ResponseError):  # It is there again.
                        kv.delete(key)
                        kv.lpush(key, b"rubbish")
            stage.pause(0.05)
        kv.flushall()


def redis_refuses_writes(stage: Stage) -> None:
    """F8: out of memory, then a replica."""
    with stage.kv as kv:
        kv.config_set("maxmemory-policy", "noeviction")
        kv.config_set("maxmemory", "1")
        stage.paying.more(40)
        kv.config_set("maxmemory", "64mb")
        kv.config_set("maxmemory-policy", "allkeys-lru")
        kv.replicaof("127.0.0.1", 1)
        stage.paying.more(40)
        kv.replicaof("NO", "ONE")


def redis_from_an_old_dump(stage: Stage) -> None:
    """F9: what was true a moment ago comes back over what is true now."""
    with stage.kv as kv:
        old = [(key, kv.pttl(key), kv.dump(key)) for key in kv.scan_iter(count=1000)]
        stage.paying.more(60)
        for key, left_ms, value in old:
            if value is not None:
                kv.restore(key, max(left_ms, 1), value, replace=True)


def _behind_a_bad_line(stage: Stage, delay_s: float = 0.0, lost: float = 0.0) -> None:
    class Line(BadLine):
        real = moved(stage.kv_socket)
        chance = stage.chance

    Line.delay_s, Line.lost = delay_s, lost
    with in_place_of_valkey(stage, Line):
        stage.paying.more(80)
