"""Who takes part: how each is installed and started, with which settings, and what it leaves out.

A contestant is given the file and a fresh folder, and leaves its balances in a CSV file there. On
its standard output its last line is a JSON object with `started_at_ns` (the work begins: the JVM or
Python, imports and the planner of Flink are done) and `completed_at_ns` (the result is complete, it
only has to be written down for us), both since the Unix epoch.
"""

import contextlib
import dataclasses
import json
import pathlib
import re

from harness import broker, install, measure

THREADS = 2

# Everything that a contestant may need for its heap, within what a small machine has.
JAVA_HEAP = "-Xmx6g"


@dataclasses.dataclass(frozen=True)
class Job:
    """What a contestant gets for one run."""

    source: pathlib.Path
    records: int
    work: pathlib.Path
    limit_s: float

    @property
    def result(self) -> pathlib.Path:
        """Where the balances go."""
        return self.work / "balances.csv"


@dataclasses.dataclass(frozen=True)
class Run:
    """What one run took."""

    # From the start of the process until the result was complete.
    seconds: float
    # The same from when the contestant's own code was at work.
    job_seconds: float
    cpu_s: float
    rss_peak_bytes: int
    # A server that the contestant cannot do without, apart.
    server_cpu_s: float | None = None
    server_rss_peak_bytes: int | None = None


class Contestant:
    """One program and its settings."""

    name: str
    # Whose result all others must have.
    is_reference = False
    # On two cores these need much longer, and may be given a smaller file.
    slow = False
    settings: str
    lacks: str

    def install(self) -> str:
        """Makes what it needs, and returns its version."""
        raise NotImplementedError

    def run(self, job: Job) -> Run:
        """Runs it once. Raises `measure.Failed`."""
        command, environment = self.command(job)
        return timed(measure.run(command, environment, job.work, job.limit_s))

    def command(self, job: Job) -> tuple[list[str], dict[str, str]]:
        """Returns what to start, and in which environment."""
        raise NotImplementedError


def timed(usage: measure.Usage) -> Run:
    """Takes from a contestant's last line when it began and was done."""
    try:
        said = json.loads(usage.output.strip().splitlines()[-1])
        started_at_ns, completed_at_ns = said["started_at_ns"], said["completed_at_ns"]
    except (IndexError, KeyError, ValueError) as cause:
        raise measure.Failed(f"it does not say when it was done: {usage.output[-200:]}") from cause
    return Run(
        seconds=(completed_at_ns - usage.started_at_ns) / 1e9,
        job_seconds=(completed_at_ns - started_at_ns) / 1e9,
        cpu_s=usage.cpu_s,
        rss_peak_bytes=usage.rss_peak_bytes,
    )


class Trueup(Contestant):
    """trueup itself: a first load into an empty store."""

    name = "trueup"
    is_reference = True
    settings = "defaults, 2 workers, fsynced store on disk"
    lacks = "nothing: durable, exactly once, all views, deltas in Parquet, raw quarantine"
    # A program that is there already, for all that are trueup.
    given: pathlib.Path | None = None

    def install(self) -> str:
        self.program = self.given or install.trueup()
        found = install.output([self.program, "--version"]).split()[-1]
        return f"{found} {install.revision()}"

    def store(self, job: Job) -> pathlib.Path:
        """Where a job's books are."""
        return job.work / "store"

    def command(self, job: Job) -> tuple[list[str], dict[str, str]]:
        arguments = ["run", "--input", job.source, "--store", self.store(job)]
        workers = ["--until-caught-up", "--workers", THREADS, "--json"]
        return [str(part) for part in [self.program, *arguments, *workers]], {}

    def run(self, job: Job) -> Run:
        command, _ = self.command(job)
        return self.measured(command, job)

    def measured(self, command: list[str], job: Job) -> Run:
        """Runs a command of it once."""
        usage = measure.run(command, {}, job.work, job.limit_s)
        # All is committed when it ends; what its start takes is not worth a line of its own.
        return Run(usage.wall_s, usage.wall_s, usage.cpu_s, usage.rss_peak_bytes)


class Topics:
    """A topic with the events of each file, on a broker of its own that runs while it is read. Its
    data stay from run to run; whoever needs a topic first has it filled, which is in no figure."""

    def __init__(self) -> None:
        self.brokers: dict[pathlib.Path, broker.Broker] = {}

    def install(self) -> None:
        """Makes what fills a topic, which is a class of the job for Kafka Streams."""
        pom = install.PEERS / "kstreams" / "pom.xml"
        self.class_path = install.java(pom, "kstreams", install.java_sources("kstreams"))
        broker.class_path()

    @contextlib.contextmanager
    def of(self, job: Job):
        """Runs the broker for a `with` block, which gets it, and what tells its use so far."""
        kafka = self.brokers.get(job.source)
        first = kafka is None
        if first:
            # Beside the folders of the runs, which are emptied after each.
            folder = job.work.parent / f"kafka-{len(self.brokers)}"
            kafka = self.brokers[job.source] = broker.Broker(folder)
        with kafka.running() as used:
            if first:
                load = ["Load", kafka.bootstrap, TOPIC, str(broker.PARTITIONS), str(job.source)]
                measure.run([*self.java(), *load], {}, job.work, job.limit_s)
            yield kafka, used

    def java(self) -> list[str]:
        """Returns the start of a command that runs one of its classes."""
        return ["java", JAVA_HEAP, "-XX:+UseParallelGC", *LOG_ERRORS, "-cp", self.class_path]

    def run(self, job: Job, work) -> Run:
        """Calls `work` with the broker, and states what the broker took meanwhile."""
        with self.of(job) as (kafka, used):
            cpu_before, _ = used()
            run = work(kafka)
            cpu_after, rss_peak = used()
        return dataclasses.replace(
            run, server_cpu_s=cpu_after - cpu_before, server_rss_peak_bytes=rss_peak
        )


TOPIC = "events"
TOPICS = Topics()


class TrueupKafka(Trueup):
    """trueup on the topic that Kafka Streams reads."""

    name = "trueup-kafka"
    slow = True
    is_reference = False
    settings = "as trueup, a topic of 2 partitions"
    lacks = "nothing, as trueup; needs a broker"

    def install(self) -> str:
        TOPICS.install()
        return super().install()

    def run(self, job: Job) -> Run:
        return TOPICS.run(job, lambda kafka: self.load(job, kafka))

    def load(self, job: Job, kafka: broker.Broker) -> Run:
        """Reads the topic into an empty store."""
        file = job.work / "trueup.toml"
        file.write_text(
            f'store = "{self.store(job)}"\nworkers = {THREADS}\n[[source]]\nname = "{TOPIC}"\n'
            f'type = "kafka"\nbrokers = "{kafka.bootstrap}"\ntopic = "{TOPIC}"\n'
        )
        command = [str(self.program), "run", "-c", str(file), "--until-caught-up", "--json"]
        return self.measured(command, job)


class DuckDb(Contestant):
    """The balances from nothing, in memory: how fast a recompute can be."""

    name = "duckdb"
    settings = "threads=2, preserve_insertion_order=false"
    lacks = "not incremental, not durable, no other view: a correction costs the whole again"

    def install(self) -> str:
        self.python = install.python("duckdb")
        return install.package_version(self.python, "duckdb")

    def command(self, job: Job) -> tuple[list[str], dict[str, str]]:
        script = install.PEERS / "duckdb" / "job.py"
        return [str(p) for p in [self.python, script, job.source, job.result, THREADS]], {}


class Dbsp(Contestant):
    """Feldera's engine as a library, all state in memory."""

    name = "dbsp"
    settings = "2 workers, 2 decoders, steps of 100,000 records, names as numbers, mimalloc"
    lacks = "in memory only, no other view, results not published anywhere"
    step_records = 100_000

    def install(self) -> str:
        self.program = install.dbsp()
        manifest = (install.PEERS / "dbsp" / "Cargo.toml").read_text()
        return re.search(r'^dbsp = "=(.*)"$', manifest, re.MULTILINE).group(1)

    def command(self, job: Job) -> tuple[list[str], dict[str, str]]:
        command = [self.program, job.source, job.result, self.step_records, *self.storage(job)]
        return [str(part) for part in command], {}

    def storage(self, job: Job) -> list[pathlib.Path]:
        """Where its state goes, if on disk."""
        return []


class DbspStorage(Dbsp):
    """The same with its state on disk."""

    name = "dbsp-storage"
    settings = "as dbsp, storage on disk, a checkpoint every 15 s and at the end"
    lacks = (
        "no other view, results not published anywhere; "
        "a restart repeats what came since the checkpoint"
    )

    def storage(self, job: Job) -> list[pathlib.Path]:
        return [job.work / "storage"]


class Pathway(Contestant):
    """Pathway, whose engine is Rust, in its static mode: everything at once."""

    name = "pathway"
    slow = True
    settings = "PATHWAY_THREADS=2, static mode, no function in Python on the way"
    lacks = "in memory only, no other view; computes once all input is read"

    def install(self) -> str:
        self.python = install.python("pathway")
        return install.package_version(self.python, "pathway")

    def command(self, job: Job) -> tuple[list[str], dict[str, str]]:
        script = install.PEERS / "pathway" / "job.py"
        command = [str(part) for part in [self.python, script, job.source, job.result]]
        return command, {"PATHWAY_THREADS": str(THREADS), "PATHWAY_MONITORING_SERVER": ""}


class Flink(Contestant):
    """Flink SQL, state on the heap, no checkpoints."""

    name = "flink-hashmap"
    slow = True
    settings = (
        "parallelism 2, mini-batch 1 s / 50,000, object reuse, top-n cache 200,000, 6 GB heap"
    )
    lacks = "in memory only, no checkpoint, no other view, no transactional sink"
    # Java 17 opens these to nobody, and Flink looks into them.
    opened = ["java.base/java.util", "java.base/java.lang", "java.base/java.time",
              "java.base/java.nio"]

    def install(self) -> str:
        pom = install.PEERS / "flink" / "pom.xml"
        self.class_path = install.java(pom, "flink", install.java_sources("flink"))
        return re.search("<flink>(.*)</flink>", pom.read_text()).group(1)

    def command(self, job: Job) -> tuple[list[str], dict[str, str]]:
        file = job.work / "flink.properties"
        shared = (install.PEERS / "flink" / "settings.properties").read_text()
        file.write_text(shared + self.backend(job))
        opened = [f"--add-opens={package}=ALL-UNNAMED" for package in self.opened]
        java = ["java", JAVA_HEAP, "-XX:+UseParallelGC", *opened, *LOG_ERRORS]
        arguments = ["Job", job.source, job.result, file]
        return [str(p) for p in [*java, "-cp", self.class_path, *arguments]], {}

    def backend(self, job: Job) -> str:
        """Returns the settings of where state is kept."""
        return "state.backend.type=hashmap\n"


class FlinkRocksDb(Flink):
    """Flink SQL with its state on disk and checkpoints, as one would run it."""

    name = "flink-rocksdb"
    settings = "as flink-hashmap, RocksDB in 1 GB, incremental checkpoints every 15 s"
    lacks = "no other view, no transactional sink: the results are in memory"

    def backend(self, job: Job) -> str:
        return (
            "state.backend.type=rocksdb\n"
            f"state.backend.rocksdb.localdir={job.work / 'rocksdb'}\n"
            "execution.checkpointing.incremental=true\n"
            "execution.checkpointing.mode=EXACTLY_ONCE\n"
            "execution.checkpointing.interval=15 s\n"
            f"execution.checkpointing.dir={(job.work / 'checkpoints').as_uri()}\n"
        )


class KafkaStreams(Contestant):
    """Kafka Streams, exactly once, between topics of a broker on this machine."""

    name = "kafka-streams"
    slow = True
    settings = "exactly_once_v2, 2 threads, 2 partitions, commit 1 s, RocksDB, 512 MB cache"
    lacks = "no other view; needs a broker, which does a part of the work"

    def install(self) -> str:
        TOPICS.install()
        pom = install.PEERS / "kstreams" / "pom.xml"
        found = re.search("kafka-streams</artifactId><version>(.*?)<", pom.read_text())
        return found.group(1)

    def run(self, job: Job) -> Run:
        return TOPICS.run(job, lambda kafka: self.compute(job, kafka))

    def compute(self, job: Job, kafka: broker.Broker) -> Run:
        """Reads the topic and writes another one."""
        settings = job.work / "streams.properties"
        shared = (install.PEERS / "kstreams" / "settings.properties").read_text()
        settings.write_text(
            f"{shared}bootstrap.servers={kafka.bootstrap}\n"
            # A name of its own for each run, or it would go on where the last one ended.
            f"application.id=balances-{job.work.name}\n"
            f"state.dir={job.work / 'state'}\n"
        )
        arguments = ["Job", TOPIC, str(job.records), str(job.result), str(settings)]
        return timed(measure.run([*TOPICS.java(), *arguments], {}, job.work, job.limit_s))


LOG_ERRORS = ["-Dorg.slf4j.simpleLogger.defaultLogLevel=error"]

ALL: list[type[Contestant]] = [
    Trueup, DuckDb, Dbsp, DbspStorage, FlinkRocksDb, Flink, KafkaStreams, TrueupKafka, Pathway,
]
