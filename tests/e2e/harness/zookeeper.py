"""Real ZooKeeper servers: Debian's, one or an ensemble, on loopback.

As a program it serves until its standard input ends, for demos and for work by hand:

    python3 -m harness.zookeeper [SERVERS]      prints HOST:PORT,... once it serves
"""

import contextlib
import shutil
import sys
import tempfile

from kazoo.client import KazooClient

from .env import free_port, program, wait_for
from .servers import TRIES, Server
from .process import LaunchFailed

JARS = "/usr/share/java"
# All of /usr/share/java works as well and takes three times as long to start.
CLASSES = ":".join(f"{JARS}/{name}.jar" for name in (
    "zookeeper", "zookeeper-jute", "slf4j-api", "slf4j-simple", "netty-all", "commons-io"))
TICK_MS = 200


class ZooKeeper(Server):
    """One server; restart() after kill() or stop() keeps its port and data."""

    def __init__(self, workdir, name):
        super().__init__(workdir, name, ["java"])
        self.data = self.workdir / f"{name}.data"
        self.id = 1
        self.ensemble = []  # lines for the configuration; empty: it is alone

    def arguments(self):
        self.data.mkdir(exist_ok=True)
        (self.data / "myid").write_text(f"{self.id}\n")
        config = self.workdir / f"{self.name}.cfg"
        config.write_text("\n".join([
            f"tickTime={TICK_MS}", f"dataDir={self.data}", f"clientPort={self.port}",
            f"clientPortAddress={self.host}", "admin.enableServer=false", "maxClientCnxns=0",
            "4lw.commands.whitelist=*", "minSessionTimeout=400", "maxSessionTimeout=120000",
            "forceSync=no", "initLimit=25", "syncLimit=15", *self.ensemble, ""]))
        return [program("java"), "-Xmx128m", "-XX:+UseSerialGC", "-XX:TieredStopAtLevel=1",
                "-XX:-UsePerfData", "-Dorg.slf4j.simpleLogger.defaultLogLevel=warn",
                "-cp", CLASSES, "org.apache.zookeeper.server.quorum.QuorumPeerMain", config]

    def four_letters(self, word, timeout=10.0):
        """The answer to `srvr`, `mntr`, `cons`, ... as text."""
        with self.raw(timeout=timeout) as c:
            c.send(word.encode())
            return c.to_eof().decode("utf-8", "replace")

    def answers(self):
        """It takes connections a moment before it serves, and without a quorum never does. A question
        in just that moment is never answered at all."""
        return self.four_letters("srvr", timeout=1).startswith("Zookeeper version")

    def mode(self):
        """standalone, leader or follower; None while it does not serve."""
        for line in self.four_letters("srvr").splitlines():
            if line.startswith("Mode: "):
                return line[6:]
        return None

    def wipe(self):
        """Forget everything; only while it is stopped."""
        assert not self.alive()
        shutil.rmtree(self.data, ignore_errors=True)
        self.data.mkdir()
        (self.data / "myid").write_text(f"{self.id}\n")


class Ensemble:
    """One server, or three or five that elect a leader. `servers` are Processes of their own."""

    def __init__(self, workdir, name, size=1):
        self.workdir, self.name, self.size = workdir, name, size
        self.servers = []

    def launch(self):
        for attempt in range(TRIES):
            try:
                return self._launch(attempt)
            except LaunchFailed:
                self.stop()
                if attempt == TRIES - 1:
                    raise

    def _launch(self, attempt):
        self.servers = [ZooKeeper(self.workdir, f"{self.name}-{attempt}-{i + 1}")
                        for i in range(self.size)]
        lines = [f"server.{i + 1}=127.0.0.1:{free_port()}:{free_port()}" for i in range(self.size)]
        for i, s in enumerate(self.servers):
            s.port, s.id = free_port(), i + 1
            s.ensemble = lines if self.size > 1 else []
            s.argv = s.arguments()
        return self.restart()

    def restart(self):
        """Start those that do not run, and wait until all serve."""
        for s in self.servers:
            if not s.alive():
                s.start()
        for s in self.servers:
            s.wait_up()
        return self

    @property
    def hosts(self):
        return ",".join(s.text for s in self.servers)

    def source(self, chroot=""):
        """As an agent's configuration has it."""
        return f"zk:{self.hosts}{chroot}"

    def leader(self):
        for s in self.servers:
            if s.alive() and s.mode() == "leader":
                return s
        return None

    def wait_leader(self):
        return wait_for(self.leader, 20, "a leader")

    @contextlib.contextmanager
    def client(self, chroot=""):
        """kazoo, the client that is not ours, connected."""
        c = KazooClient(self.hosts + chroot, timeout=10)
        c.start(timeout=15)
        try:
            yield c
        finally:
            c.stop()
            c.close()

    def kill(self):
        for s in self.servers:
            s.kill()

    def stop(self):
        for s in self.servers:
            if s.popen:
                s.kill()  # nothing of theirs is worth a clean end

    def describe(self):
        return "\n".join(s.describe() for s in self.servers if s.popen)


def main():
    size = int(sys.argv[1]) if len(sys.argv) > 1 else 1
    with tempfile.TemporaryDirectory(prefix="tw-zk-") as workdir:
        ensemble = Ensemble(workdir, "zk", size).launch()
        try:
            print(ensemble.hosts, flush=True)
            sys.stdin.read()
        except KeyboardInterrupt:
            pass
        finally:
            ensemble.stop()


if __name__ == "__main__":
    main()
