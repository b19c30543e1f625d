"""Must show 7: many agents on one ZooKeeper. An edit reaches all in under two seconds, and costs what
tests/README.md says."""

import time
from concurrent.futures import ThreadPoolExecutor

import pytest

from harness import agent as agents
from harness import env
from harness.agent import mntr, spec
from harness.env import scaled, wait_for

pytestmark = pytest.mark.skipif(agents.MISSING, reason="twinring-agent is not built")
COUNT = 300 if env.LONG else 60


def counters(plane):
    got = mntr(plane.ensemble.servers[0])
    return {k: got[k] for k in ("zk_packets_received", "zk_packets_sent",
                                "zk_num_alive_connections", "zk_watch_count")}


@pytest.mark.long
def test_an_edit_reaches_all(world, plane, capsys):
    plane.set_spec(spec("memcached", ["127.0.0.1:1", "127.0.0.1:2"]))
    began = time.monotonic()
    # What production has: sessions of 10 s, and a question every 10 s whether all is current.
    fleet = plane.agents(COUNT, session_timeout_ms=10000, confirm_ms=10000, log_level="notice")
    status = wait_for(lambda: (s := plane.status()).get("state") == "ok" and s, 60, "all to start")
    started = time.monotonic() - began
    wait_for(lambda: len(plane.names("live")) == COUNT, 30, "all sessions")
    took = []
    for n in range(5):
        began = time.monotonic()
        plane.set_spec(spec("memcached", ["127.0.0.1:1", "127.0.0.1:2"], timeout_ms=3000 + n))
        barrier = f"pools/p/barrier/{status['epoch'] + n + 1}.0"

        def all_there():
            there = plane.zk.exists(barrier)
            return there and there.numChildren == COUNT
        wait_for(all_there, 20, "all agents", every=0.02)
        took.append(time.monotonic() - began)
        plane.wait_status("ok")
    assert plane.names(barrier) == sorted(a.id for a in fleet)
    assert max(took) < scaled(2), took
    version = max(plane.zk.exists("pools/p/state").mzxid, 0)
    wait_for(lambda: all(plane.read(f"agents/{a.id}")["topology"] == version for a in fleet), 10,
             "all reports", every=0.2)
    # What an edit costs, beside what goes on anyway: two windows of the same length.
    window = 3.0
    costs = []
    for edit in (False, True):
        before, until = counters(plane), time.monotonic() + window
        if edit:
            plane.set_spec(spec("memcached", ["127.0.0.1:1", "127.0.0.1:2"], timeout_ms=4000))
        wait_for(lambda until=until: time.monotonic() >= until, window + 5, "the window", every=0.1)
        after = counters(plane)
        costs.append({k: after[k] - before[k] for k in after})
    requests = costs[1]["zk_packets_received"] - costs[0]["zk_packets_received"]
    last = counters(plane)
    with capsys.disabled():
        print(f"\n{COUNT} agents: started in {started:.1f} s; an edit reached all in "
              f"{min(took):.2f} to {max(took):.2f} s; {requests / COUNT:.1f} requests per agent and edit "
              f"({requests}), idle {costs[0]['zk_packets_received'] / window / COUNT:.2f} per agent "
              f"and second; {last['zk_num_alive_connections']} connections, {last['zk_watch_count']} "
              f"watches; {sum(a.rss() for a in fleet) / COUNT / 2**20:.1f} MiB each")
    assert last["zk_num_alive_connections"] <= COUNT + 5, "one connection per agent"
    assert last["zk_watch_count"] <= 8 * COUNT + 100 + 4 * COUNT, "watches: O(pools) per agent"
    assert requests <= 20 * COUNT, f"{requests} requests for one edit"
    for a in fleet:
        assert a.alive()
    with ThreadPoolExecutor(16) as pool:
        list(pool.map(lambda a: a.kill(), fleet))
