"""A Kafka broker of one node on the loopback interface, and the topic that the job reads.

It runs only beside the contestant that needs it, on data that stay from run to run.
"""

import contextlib
import os
import pathlib
import socket
import subprocess
import time

from harness import install, measure

READY_LIMIT_S = 60
PARTITIONS = 2

SETTINGS = """\
process.roles=broker,controller
node.id=1
controller.quorum.bootstrap.servers=127.0.0.1:{controller}
listeners=PLAINTEXT://127.0.0.1:{port},CONTROLLER://127.0.0.1:{controller}
advertised.listeners=PLAINTEXT://127.0.0.1:{port},CONTROLLER://127.0.0.1:{controller}
controller.listener.names=CONTROLLER
listener.security.protocol.map=PLAINTEXT:PLAINTEXT,CONTROLLER:PLAINTEXT
inter.broker.listener.name=PLAINTEXT
log.dirs={data}
num.partitions={partitions}
offsets.topic.replication.factor=1
offsets.topic.num.partitions=4
transaction.state.log.replication.factor=1
transaction.state.log.min.isr=1
transaction.state.log.num.partitions=4
group.initial.rebalance.delay.ms=0
auto.create.topics.enable=false
log.segment.bytes=268435456
num.network.threads=2
num.io.threads=4
"""

QUIET = "-Dorg.slf4j.simpleLogger.defaultLogLevel=warn"


def class_path() -> str:
    """Returns the broker's jars, the same as those of trueup's own tests."""
    return install.java(install.REPOSITORY / "testing" / "kafka" / "pom.xml", "kafka", [])


class Broker:
    """A broker that is started and stopped for each use."""

    def __init__(self, folder: pathlib.Path) -> None:
        self.folder = folder
        self.port, controller = free_ports(2)
        self.bootstrap = f"127.0.0.1:{self.port}"
        self.settings = folder / "server.properties"
        data = folder / "log"
        folder.mkdir(parents=True)
        self.settings.write_text(
            SETTINGS.format(
                port=self.port, controller=controller, data=data, partitions=PARTITIONS
            )
        )
        identity = ["-t", "5L6g3nShT-eMCtK--X86sw", "-c", str(self.settings), "--standalone"]
        tool = ["java", QUIET, "-cp", class_path(), "kafka.tools.StorageTool", "format"]
        install.quietly([*tool, *identity])

    @contextlib.contextmanager
    def running(self):
        """Runs the broker for a `with` block, which gets a function that tells its CPU seconds and
        one that tells its peak of memory, both since its start."""
        with (self.folder / "server.out").open("ab") as out:
            broker = subprocess.Popen(
                ["java", "-Xms512m", "-Xmx1g", QUIET, "-cp", class_path(), "kafka.Kafka",
                 str(self.settings)],
                stdin=subprocess.DEVNULL, stdout=out, stderr=out, start_new_session=True,
            )
        try:
            self.wait_until_ready(broker)
            yield lambda: (cpu_s(broker.pid), rss_peak_bytes(broker.pid))
        finally:
            broker.terminate()
            try:
                broker.wait(30)
            except subprocess.TimeoutExpired:
                measure.kill_group(broker.pid)
                broker.wait()

    def wait_until_ready(self, broker: subprocess.Popen) -> None:
        """Waits until the broker listens; its clients wait for the rest themselves."""
        for _ in range(READY_LIMIT_S * 10):
            if broker.poll() is not None:
                said = measure.tail(self.folder / "server.out")
                raise measure.Failed(f"the broker ended: {said}")
            with contextlib.suppress(OSError):
                socket.create_connection(("127.0.0.1", self.port), 1).close()
                return
            time.sleep(0.1)
        raise measure.Failed("the broker did not start")


def free_ports(count: int) -> list[int]:
    """Returns ports of the loopback interface that nobody listens on now."""
    sockets = [socket.create_server(("127.0.0.1", 0)) for _ in range(count)]
    ports = [listener.getsockname()[1] for listener in sockets]
    for listener in sockets:
        listener.close()
    return ports


def cpu_s(pid: int) -> float:
    """Returns the CPU seconds of a process so far, as /proc/PID/stat has them (proc(5))."""
    # Behind the name, which may hold anything, fields 14 and 15 are the 12th and 13th.
    fields = pathlib.Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def rss_peak_bytes(pid: int) -> int:
    """Returns the peak of resident memory of a process."""
    for line in pathlib.Path(f"/proc/{pid}/status").read_text().splitlines():
        if line.startswith("VmHWM:"):
            return int(line.split()[1]) * 1024
    return 0
