"""HDFS and YARN on this machine: Hadoop's own daemons, with pyspark's jars, as processes that listen on loopback."""

import socket
import subprocess
from contextlib import ExitStack, contextmanager, suppress
from itertools import count
from pathlib import Path

from emulators import hadoop_jars
from machines import SPARK_HOME, Machine, free_port, running, told, wait_for

SERVERS = "org.apache.hadoop"
NAME_NODE = f"{SERVERS}.hdfs.server.namenode.NameNode"
DATA_NODE = f"{SERVERS}.hdfs.server.datanode.DataNode"
RESOURCE_MANAGER = f"{SERVERS}.yarn.server.resourcemanager.ResourceManager"
NODE_MANAGER = f"{SERVERS}.yarn.server.nodemanager.NodeManager"

SHELL = f"{SERVERS}.fs.FsShell"

ALL = "127.0.0.1:0"
"""An address at a port that the daemon chooses."""


class NodeManager(Machine):
    """A NodeManager with its containers, which are in sessions of their own, but in folders below its own."""

    def executors(self):
        """Return the ids of the executors that run on it."""
        commands = self.commands()
        return {command[command.index("--executor-id") + 1] for command in commands if "--executor-id" in command}

    def has_driver(self):
        """Say whether it runs an application's master: the driver, or what asks for executors in client mode."""
        names = ("ApplicationMaster", "ExecutorLauncher")
        return any(part.endswith(names) for command in self.commands() for part in command)

    def commands(self):
        """Return the command of each of its processes, with all arguments."""
        found = []
        for pid in self.processes():
            with suppress(OSError):
                found.append(Path(f"/proc/{pid}/cmdline").read_bytes().decode(errors="replace").split("\0"))
        return found

    def processes(self):
        found = super().processes()
        for entry in Path("/proc").iterdir():
            if entry.name.isdigit():
                with suppress(OSError):
                    if (entry / "cwd").readlink().is_relative_to(self.folder):
                        found.append(int(entry.name))
        return found


class Hadoop:
    """A running HDFS and YARN.

    Attributes
    ----------
    hdfs : str
        The URI of the filesystem.
    environment : dict of str to str
        Variables by which spark-submit finds both.
    nodes : list of NodeManager
        Machines that containers run on.
    """

    def __init__(self, folder, environment, stack):
        self.folder, self.nodes = folder, []
        self._machine, self._stack, self._numbers = environment, stack, count()
        name_port, self._ports = free_port(), [free_port() for _ in range(4)]
        self.hdfs = f"hdfs://127.0.0.1:{name_port}"
        self._sites = {**core_and_hdfs(folder, name_port), "yarn": yarn(self._ports)}
        self._conf = write_sites(folder / "conf", self._sites)
        self._java = ["java", "--add-opens=java.base/java.lang=ALL-UNNAMED", "-Xmx256m", "-Dlog4j2.level=WARN"]
        # Without Hadoop's native library, a process is started for each of the thousands of files that are unpacked.
        self._java += ["-Djdk.lang.Process.launchMechanism=VFORK"]
        self._classes = f"{hadoop_jars()}/*:{SPARK_HOME}/jars/*"
        self.environment = environment | {"HADOOP_CONF_DIR": str(self._conf), "HADOOP_USER_NAME": "tester"}
        self.call(NAME_NODE, "-format", "-nonInteractive")
        name_node = self._start("namenode", NAME_NODE, self._conf)
        wait_for(lambda: listens(name_port), name_node)
        self._start("datanode", DATA_NODE, self._conf)
        self._manager = self._start("resourcemanager", RESOURCE_MANAGER, self._conf)

    def call(self, program, *arguments):
        """Run a program of Hadoop's as the user that the daemons run as, and wait for its end."""
        command = [*self._java, "-cp", f"{self._conf}:{self._classes}", program, *map(str, arguments)]
        done = subprocess.run(command, env=self._machine, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stderr[-4000:]

    def put(self, path, location, *options):
        """Copy a file into a folder of HDFS with Hadoop's own client, in the place of one that is there."""
        self.call(SHELL, "-put", "-f", *options, path, location)

    def start_nodes(self, number):
        """Add machines, and wait until they can be used."""
        for _ in range(number):
            home = self.folder / f"node{next(self._numbers)}"
            conf = write_sites(home / "conf", {**self._sites, "yarn": yarn(self._ports) | node(home)})
            self.nodes.append(self._start(home.name, NODE_MANAGER, conf, NodeManager))
        wait_for(lambda: self._nodes_in_use() == len(self.nodes), self._manager)

    def replace(self, lost):
        """Start another machine in the place of one that was lost, once that is known."""
        self.nodes.remove(lost)
        wait_for(lambda: self._nodes_in_use() == len(self.nodes), self._manager)
        self.start_nodes(1)

    def _nodes_in_use(self):
        found = told(f"http://127.0.0.1:{self._ports[3]}/ws/v1/cluster/metrics")
        return found["clusterMetrics"]["activeNodes"] if found else None

    def _start(self, name, daemon, conf, kind=Machine):
        command = [*self._java, "-cp", f"{conf}:{self._classes}", daemon]
        return self._stack.enter_context(running(self.folder / name, self._machine, command, kind))


@contextmanager
def hadoop_cluster(folder, environment, nodes=2):
    """Start all daemons, and stop them with all containers when the block ends."""
    with ExitStack() as stack:
        started = Hadoop(Path(folder), environment, stack)
        started.start_nodes(nodes)
        yield started


def core_and_hdfs(folder, port):
    return {
        "core": {"fs.defaultFS": f"hdfs://127.0.0.1:{port}", "hadoop.tmp.dir": folder / "tmp"},
        "hdfs": {
            "dfs.namenode.name.dir": folder / "names",
            "dfs.datanode.data.dir": folder / "blocks",
            "dfs.replication": 1,
            "dfs.permissions.enabled": "false",
            "dfs.namenode.http-address": ALL,
            "dfs.datanode.address": ALL,
            "dfs.datanode.http.address": ALL,
            "dfs.datanode.ipc.address": ALL,
            "dfs.datanode.hostname": "127.0.0.1",
        },
    }


def yarn(ports):
    """Return the settings that all daemons of YARN, and who submits, share."""
    names = ("address", "scheduler.address", "resource-tracker.address", "webapp.address")
    found = {f"yarn.resourcemanager.{name}": f"127.0.0.1:{port}" for name, port in zip(names, ports, strict=True)}
    scheduler = f"{SERVERS}.yarn.server.resourcemanager.scheduler.fifo.FifoScheduler"
    return found | {
        "yarn.resourcemanager.hostname": "127.0.0.1",
        "yarn.resourcemanager.admin.address": ALL,
        "yarn.resourcemanager.scheduler.class": scheduler,
        "yarn.scheduler.minimum-allocation-mb": 256,
        "yarn.scheduler.maximum-allocation-mb": 16_384,
        "yarn.nm.liveness-monitor.expiry-interval-ms": 10_000,
    }


def node(home):
    """Return the settings of a NodeManager with much memory to give; it ends containers that take more than theirs."""
    return {
        "yarn.nodemanager.hostname": "127.0.0.1",
        "yarn.nodemanager.address": ALL,
        "yarn.nodemanager.localizer.address": ALL,
        "yarn.nodemanager.webapp.address": ALL,
        "yarn.nodemanager.collector-service.address": ALL,
        "yarn.nodemanager.local-dirs": home / "local",
        "yarn.nodemanager.log-dirs": home / "logs",
        "yarn.nodemanager.resource.memory-mb": 20_480,
        "yarn.nodemanager.resource.cpu-vcores": 8,
        "yarn.nodemanager.env-whitelist": "JAVA_HOME,PATH,LANG,SPARK_LOCAL_IP",
        "yarn.nodemanager.vmem-check-enabled": "false",
        "yarn.nodemanager.pmem-check-enabled": "true",
        "yarn.nodemanager.resource.memory.enforced": "false",  # else the check is left to cgroups, which nobody set up
        "yarn.nodemanager.container-monitor.interval-ms": 500,
        "yarn.nodemanager.disk-health-checker.max-disk-utilization-per-disk-percentage": 99.9,
        "yarn.nodemanager.delete.debug-delay-sec": 3_600,
    }


def write_sites(folder, sites):
    """Write Hadoop's configuration files, and return their folder."""
    folder.mkdir(parents=True)
    for name, settings in sites.items():
        lines = [f"<property><name>{key}</name><value>{text}</value></property>" for key, text in settings.items()]
        (folder / f"{name}-site.xml").write_text("\n".join(["<configuration>", *lines, "</configuration>", ""]))
    return folder


def listens(port):
    with suppress(OSError):
        socket.create_connection(("127.0.0.1", port), 1).close()
        return True
    return False
