"""What a process and all that it starts listen on, as the kernel tells, for as long as it runs."""

from __future__ import annotations

import ipaddress
import os
import subprocess
import threading
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

import psutil

_LOOKING_S = 0.2
# Tries all ports at once from another network: how many answered.
_CONNECT = """
import concurrent.futures, socket, sys
def answers(port):
    with socket.socket() as probe:
        probe.settimeout(3)
        return port if probe.connect_ex((sys.argv[1], port)) == 0 else 0
with concurrent.futures.ThreadPoolExecutor(16) as pool:
    print(*filter(None, pool.map(answers, map(int, sys.argv[2:]))))
"""


@dataclass(frozen=True)
class Listener:
    """A socket that waits for others.

    Attributes:
        host: Address that it is bound to.
        port: Its port.
        command: Of the process that holds it.
    """

    host: str
    port: int
    command: str

    @property
    def is_local(self) -> bool:
        """Whether only this machine reaches it."""
        return ipaddress.ip_address(self.host.partition("%")[0]).is_loopback


@dataclass
class Watch:
    """What was seen of the processes below some.

    Attributes:
        roots: Return the numbers of the processes that were started so far.
        seen: Every listener that there was.
        commands: Command lines of all that ran, which every user of the machine may read.
    """

    roots: Callable[[], Iterable[int]]
    seen: set[Listener] = field(default_factory=set)
    commands: set[str] = field(default_factory=set)

    def look(self) -> set[Listener]:
        """Return what listens now."""
        found = set()
        for process in family(self.roots()):
            try:
                command = " ".join(process.cmdline())
                for one in process.net_connections("inet"):
                    # UDP has no state: what is bound and not connected takes what comes.
                    waits = one.status == psutil.CONN_LISTEN or (one.status == psutil.CONN_NONE and not one.raddr)
                    if waits and one.laddr:
                        found.add(Listener(one.laddr.ip, one.laddr.port, command[:200]))
            except (psutil.NoSuchProcess, psutil.AccessDenied):
                continue
            self.commands.add(command)
        self.seen |= found
        return found

    @contextmanager
    def kept(self) -> Iterator[Watch]:
        """Look again and again for as long as the context lasts."""
        ended = threading.Event()

        def watch() -> None:
            while not ended.wait(_LOOKING_S):
                self.look()

        watcher = threading.Thread(target=watch)
        watcher.start()
        try:
            yield self
        finally:
            ended.set()
            watcher.join()


def family(roots: Iterable[int]) -> list[psutil.Process]:
    """Return processes with all that they started and that is still below them."""
    found: dict[int, psutil.Process] = {}
    for pid in roots:
        try:
            process = psutil.Process(pid)
            found |= {one.pid: one for one in (process, *process.children(recursive=True))}
        except psutil.NoSuchProcess:
            continue
    return list(found.values())


@dataclass(frozen=True)
class OtherNetwork:
    """A network namespace, joined to this one by a cable.

    Attributes:
        name: Of the namespace.
        host: Address of this machine as it is reached from there.
    """

    name: str
    host: str

    def reaches(self, ports: Iterable[int]) -> set[int]:
        """Return the ports of this machine that answer from there."""
        words = ["ip", "netns", "exec", self.name, "/usr/bin/env", "python3", "-S", "-c", _CONNECT, self.host]
        told = subprocess.run([*words, *map(str, ports)], capture_output=True, text=True, check=True, timeout=120)
        return set(map(int, told.stdout.split()))


@contextmanager
def other_network() -> Iterator[OtherNetwork | None]:
    """Make another network for as long as the context lasts; None where none can be made."""
    name, number = f"swa{os.getpid()}", os.getpid()
    near, far = (f"10.{200 + number % 40}.{number // 40 % 250}.{end}" for end in (1, 2))
    made = [
        ["ip", "netns", "add", name],
        ["ip", "link", "add", f"{name}a", "type", "veth", "peer", "name", f"{name}b", "netns", name],
        ["ip", "address", "add", f"{near}/30", "dev", f"{name}a"],
        ["ip", "link", "set", f"{name}a", "up"],
        ["ip", "-n", name, "address", "add", f"{far}/30", "dev", f"{name}b"],
        ["ip", "-n", name, "link", "set", f"{name}b", "up"],
    ]
    try:
        if any(subprocess.run(words, capture_output=True, check=False).returncode for words in made):
            yield None
        else:
            yield OtherNetwork(name, near)
    finally:
        subprocess.run(["ip", "link", "del", f"{name}a"], capture_output=True, check=False)
        subprocess.run(["ip", "netns", "del", name], capture_output=True, check=False)
