"""Who holds a reservation: a process, told apart from a later one with the same number."""

import os
import socket

import psutil


def holder() -> str:
    """Return this process's name in the ledger: `host:pid:start`, start in seconds since 1970."""
    started = psutil.Process().create_time()
    return f"{socket.gethostname()}:{os.getpid()}:{started:.0f}"


def is_dead(name: str) -> bool:
    """Tell whether the named process is certainly gone. A process elsewhere is never certain."""
    try:
        host, pid, started = name.rsplit(":", 2)
        number, start_s = int(pid), float(started)
    except ValueError:
        return False
    if host != socket.gethostname():
        return False
    try:
        process = psutil.Process(number)
        gone = process.status() == psutil.STATUS_ZOMBIE
        return gone or abs(process.create_time() - start_s) > 2
    except psutil.NoSuchProcess:
        return True
