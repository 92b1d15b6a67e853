"""Says in one line what stands in the way of running here: a wrong Python, a full disk, a taken port. Uses the standard library alone."""

import argparse
import shutil
import socket
import sys

NEEDED_GB = 4


def python_problem(version: tuple[int, ...]) -> str | None:
    """What is wrong with a Python version, or None."""
    if (3, 11) <= version[:2] <= (3, 12):
        return None
    found = ".".join(map(str, version[:2]))
    return f"MediAssist needs Python 3.11 or 3.12, and this is {found}. Install one of them, then run: make run PYTHON=python3.12"


def disk_problem(folder: str) -> str | None:
    """What is wrong with the room on the disk, or None."""
    free = shutil.disk_usage(folder).free / 1e9
    return (
        None
        if free >= NEEDED_GB
        else f"Only {free:.1f} GB are free here and {NEEDED_GB} GB are needed. Free some space, then run make again."
    )


def port_problem(port: int) -> str | None:
    """What is wrong with a port, or None."""
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("127.0.0.1", port))
        except OSError:
            return f"Port {port} is taken. Stop what uses it, or choose another: make run PORT={port + 1}"
    return None


def main() -> int:
    """Print the first problem found; 0 where there is none."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--python", action="store_true", help="check this Python's version")
    parser.add_argument("--disk", metavar="FOLDER", help="check the room on the disk of FOLDER")
    parser.add_argument("--port", type=int, help="check that PORT is free")
    args = parser.parse_args()
    problem = (
        (python_problem(sys.version_info) if args.python else None)
        or (disk_problem(args.disk) if args.disk else None)
        or (port_problem(args.port) if args.port else None)
    )
    if problem:
        print(problem, file=sys.stderr)
    return 2 if problem else 0


if __name__ == "__main__":
    sys.exit(main())
