"""A `readiness` for shells whose commands run in forked processes, so that none of them loads its libraries itself."""

import json
import shutil
import socket
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from multiprocessing.connection import Connection, wait
from pathlib import Path
from tempfile import TemporaryDirectory

from tests.support import PROJECT
from tests.support.warm import WARM, become_command

_MOST_BYTES = 1 << 17
_PROGRAM = """#!{python} -IS
import json, os, socket, sys
with socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET) as asked:
    asked.connect({address!r})
    socket.send_fds(asked, [json.dumps([sys.argv[1:], dict(os.environ), os.getcwd()]).encode()], [0, 1, 2])
    sys.exit(int(asked.recv(16)))
"""


@contextmanager
def replace_command(environment: Path) -> Iterator[None]:
    """Put a virtual environment in the place of a link to the project's: the same but for its `readiness`."""
    with TemporaryDirectory() as folder, socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET) as server:
        address = f"{folder}/asked"
        server.bind(address)
        server.listen()
        threading.Thread(target=_accept, args=(server,), daemon=True).start()
        environment.unlink()
        (environment / "bin").mkdir(parents=True)
        for path in (*(PROJECT / ".venv").iterdir(), *(PROJECT / ".venv" / "bin").iterdir()):
            link = environment / path.relative_to(PROJECT / ".venv")
            if link.name not in ("bin", "readiness"):
                link.symlink_to(path)
        command = environment / "bin" / "readiness"
        command.write_text(_PROGRAM.format(python=Path(sys.executable).resolve(), address=address))
        command.chmod(0o755)
        yield
        shutil.rmtree(environment)


def _accept(server: socket.socket) -> None:
    with suppress(OSError):  # closed: nobody types any more
        while True:
            threading.Thread(target=_run, args=(server.accept()[0],), daemon=True).start()


def _run(asked: socket.socket) -> None:
    """Run the command that was asked for, and end it if the process that asked has ended."""
    with asked:
        said, handles, _, _ = socket.recv_fds(asked, _MOST_BYTES, 3)
        words, environment, folder = json.loads(said)
        files = [Connection(handle) for handle in handles]
        process = WARM.Process(target=become_command, args=(words, environment, Path(folder), files))
        process.start()
        for file in files:
            file.close()
        if process.sentinel not in wait([process.sentinel, asked]):
            process.terminate()
        process.join()
        with suppress(OSError):
            asked.send(str(process.exitcode).encode())
