"""Fixtures of the end-to-end tests, and what a failed test prints."""

import os
import random
import shutil
import signal
import sys
import tempfile
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parent))

from harness import env  # noqa: E402
from harness.agent import Plane  # noqa: E402
from harness.fake import FakeServer  # noqa: E402
from harness.proxy import Proxy  # noqa: E402
from harness.relay import ChaosRelay  # noqa: E402
from harness.servers import Memcached, Nutcracker, Redis, start_all  # noqa: E402
from harness.zookeeper import Ensemble  # noqa: E402


class World:
    """All that one test started. Everything is stopped, in reverse order, whatever happened."""

    def __init__(self, seed):
        # Short, because unix socket paths are.
        self.dir = Path(tempfile.mkdtemp(prefix="tw-"))
        os.chmod(self.dir, 0o755)
        self.seed = seed
        self.random = random.Random(seed)
        self.things = []
        self.count = 0

    def name(self, kind):
        self.count += 1
        return f"{kind}{self.count}"

    def add(self, thing):
        """Anything with stop() or close(): ended when the test is over."""
        self.things.append(thing)
        return thing

    def memcached(self, n=1, **kw):
        """n running memcached servers."""
        made = [self.add(Memcached(self.dir, self.name("mc"), **kw)) for _ in range(n)]
        return start_all(made)

    def redis(self, n=1, **kw):
        made = [self.add(Redis(self.dir, self.name("redis"), **kw)) for _ in range(n)]
        return start_all(made)

    def servers(self, protocol, n, **kw):
        return self.memcached(n, **kw) if protocol == "memcached" else self.redis(n, **kw)

    def proxy(self, pools=None, **kw):
        """A running proxy."""
        return self.add(Proxy(self.dir, self.name("proxy"), pools, **kw)).launch()

    def proxy_unstarted(self, pools=None, **kw):
        return self.add(Proxy(self.dir, self.name("proxy"), pools, **kw))

    def nutcracker(self, config_path, addrs, **kw):
        n = self.add(Nutcracker(self.dir, self.name("nutcracker"), config_path, **kw))
        return n.launch(addrs)

    def fake(self, handler, **kw):
        return self.add(FakeServer(handler, **kw))

    def relay(self, target, **kw):
        return self.add(ChaosRelay(target, **kw))

    def describe(self):
        parts = [f"seed {self.seed} (TWINRING_SEED={self.seed} repeats it)   files: {self.dir}"]
        for t in self.things:
            try:
                parts += [t.describe()] if hasattr(t, "describe") else []
            except Exception as e:  # a report must not hide the failure that it reports
                parts.append(f"{t!r}: {e!r}")
        return "\n\n".join(parts)

    def end(self, keep):
        problems = []
        for t in reversed(self.things):
            try:
                t.stop() if hasattr(t, "stop") else t.close()
            except Exception as e:  # the others must be stopped all the same
                problems.append(f"{type(e).__name__}: {e}")
        if not keep:
            shutil.rmtree(self.dir, ignore_errors=True)
        if problems:
            pytest.fail("while stopping: " + "; ".join(problems))


@pytest.fixture
def seed():
    return int(os.environ.get("TWINRING_SEED") or random.randrange(1 << 32))


@pytest.fixture
def world(seed, request):
    w = World(seed)
    request.node.twinring_world = w
    try:
        yield w
    finally:
        w.end(keep=bool(os.environ.get("TWINRING_KEEP")))


@pytest.fixture(scope="module")
def module_world(request):
    """A world that the tests of one module share; for servers that tests do not harm."""
    w = World(int(os.environ.get("TWINRING_SEED") or random.randrange(1 << 32)))
    request.node.twinring_world = w
    try:
        yield w
    finally:
        w.end(keep=bool(os.environ.get("TWINRING_KEEP")))


@pytest.fixture(scope="module")
def zookeeper(module_world):
    """One ZooKeeper server for tests that do not harm it."""
    return module_world.add(Ensemble(module_world.dir, "zk")).launch()


@pytest.fixture
def plane(world, zookeeper):
    """A cluster of its own on it."""
    return Plane(world, zookeeper)


def _too_long(signum, frame):
    raise TimeoutError("the test took too long")


@pytest.hookimpl(hookwrapper=True)
def pytest_runtest_protocol(item, nextitem):
    """No test waits for ever, whatever it waits for. Set-up and tear-down count too."""
    limit = int(env.scaled(900 if env.LONG and item.get_closest_marker("long") else 120))
    before = signal.signal(signal.SIGALRM, _too_long)
    # Again and again: the first may be swallowed by code that retries.
    signal.setitimer(signal.ITIMER_REAL, limit, 10)
    yield
    signal.setitimer(signal.ITIMER_REAL, 0)
    signal.signal(signal.SIGALRM, before)


@pytest.hookimpl(hookwrapper=True)
def pytest_runtest_makereport(item, call):
    """A failure shows the seed, every configuration and every log."""
    report = (yield).get_result()
    if report.failed:
        for node in (item, item.getparent(pytest.Module)):
            world = getattr(node, "twinring_world", None)
            if world:
                report.sections.append(("processes", world.describe()))


def pytest_configure(config):
    config.addinivalue_line("markers", "long: more than about 20 s in full size; see check-long")
    if env.UNDER_TEST == "twinring" and not env.PROXY.exists():
        raise pytest.UsageError(f"{env.PROXY} is not built: run make MODE={env.BUILD}")
