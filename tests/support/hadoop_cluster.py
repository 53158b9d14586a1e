"""HDFS and YARN on this machine: Hadoop's own daemons, with pyspark's jars, as processes that listen on loopback."""

import socket
import subprocess
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

from emulators import hadoop_jars
from standalone_cluster import SPARK_HOME, Machine, free_port, told, wait_for

SERVERS = "org.apache.hadoop"
NAME_NODE = f"{SERVERS}.hdfs.server.namenode.NameNode"
DATA_NODE = f"{SERVERS}.hdfs.server.datanode.DataNode"
RESOURCE_MANAGER = f"{SERVERS}.yarn.server.resourcemanager.ResourceManager"
NODE_MANAGER = f"{SERVERS}.yarn.server.nodemanager.NodeManager"

ALL = "127.0.0.1:0"
"""An address at a port that the daemon chooses."""


class NodeManager(Machine):
    """A NodeManager with its containers, which are in sessions of their own, but in folders below its own."""

    def processes(self):
        found = super().processes()
        for entry in Path("/proc").iterdir():
            if entry.name.isdigit():
                with suppress(OSError):
                    if (entry / "cwd").readlink().is_relative_to(self.folder):
                        found.append(int(entry.name))
        return found


@dataclass
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

    hdfs: str
    environment: dict[str, str]
    nodes: list[NodeManager]


@contextmanager
def hadoop_cluster(folder, environment, nodes=2):
    """Start all daemons, and stop them with all containers when the block ends."""
    jars, folder = hadoop_jars(), Path(folder)
    name_port, manager_ports = free_port(), [free_port() for _ in range(4)]
    sites = {**core_and_hdfs(folder, name_port), "yarn": yarn(manager_ports)}
    conf = write_sites(folder / "conf", sites)
    java = ["java", "--add-opens=java.base/java.lang=ALL-UNNAMED", "-Xmx256m"]
    classes = f"{jars}/*:{SPARK_HOME}/jars/*"
    formatted = subprocess.run(
        [*java, "-cp", f"{conf}:{classes}", NAME_NODE, "-format", "-nonInteractive"],
        env=environment, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert formatted.returncode == 0, formatted.stderr[-4000:]
    with ExitStack() as stack:

        def start(name, daemon, conf, kind=Machine):
            command = [*java, "-cp", f"{conf}:{classes}", daemon]
            return stack.enter_context(running(folder / name, environment, command, kind))

        name_node = start("namenode", NAME_NODE, conf)
        wait_for(lambda: listens(name_port), name_node)
        start("datanode", DATA_NODE, conf)
        manager = start("resourcemanager", RESOURCE_MANAGER, conf)
        started = []
        for number in range(nodes):
            home = folder / f"node{number}"
            own = write_sites(folder / f"conf{number}", {**sites, "yarn": yarn(manager_ports) | node(home)})
            started.append(start(home.name, NODE_MANAGER, own, NodeManager))
        metrics = f"http://127.0.0.1:{manager_ports[3]}/ws/v1/cluster/metrics"
        wait_for(
            lambda: (told(metrics) or {"clusterMetrics": {}})["clusterMetrics"].get("activeNodes") == nodes, manager
        )
        hdfs = f"hdfs://127.0.0.1:{name_port}"
        yield Hadoop(hdfs, environment | {"HADOOP_CONF_DIR": str(conf), "HADOOP_USER_NAME": "tester"}, started)


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
        "yarn.nodemanager.resource.memory-mb": 16_384,
        "yarn.nodemanager.resource.cpu-vcores": 8,
        "yarn.nodemanager.vmem-check-enabled": "false",
        "yarn.nodemanager.pmem-check-enabled": "true",
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


@contextmanager
def running(folder, environment, command, kind):
    folder.mkdir(parents=True)
    with (folder / "log").open("wb") as log:
        process = subprocess.Popen(
            command,
            env=environment,
            cwd=folder,
            start_new_session=True,
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
        )
    machine = kind(process, folder)
    try:
        yield machine
    finally:
        machine.kill()
