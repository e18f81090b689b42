"""Publishers in processes of their own: one is killed while it sends, the other waits before readers are led to it."""

import os
import signal
import threading
import time
from collections.abc import Mapping
from pathlib import Path
from unittest.mock import patch

from ndl_export.files.stores import Store
from ndl_export.publish import one_publisher, upload
from tests.support.export.bundles import publish


def publish_until(
    environment: Mapping[str, str], release_dir: Path, version: str, url: str, log: Path, steps: int
) -> None:
    """Publish, and be killed while the file that follows `steps` others is sent; `log` has a line for each file."""
    put, done, lock = Store.put, 0, threading.Lock()

    def put_and_count(self: Store, name: str, content: bytes, *, changes: bool) -> None:
        nonlocal done
        if name.startswith(one_publisher.FOLDER):
            return put(self, name, content, changes=changes)
        if done >= steps:
            threading.Timer(0.002, os.kill, (os.getpid(), signal.SIGKILL)).start()
        put(self, name, content, changes=changes)
        with lock, log.open("a") as noted:
            noted.write(f"{name}\n")
            done += 1

    os.environ.update(environment)
    with patch.object(one_publisher, "DEAD_AFTER_SECONDS", 0.5), patch.object(Store, "put", put_and_count):
        publish(release_dir, version, url)


def publish_slowly(
    environment: Mapping[str, str], release_dir: Path, version: str, url: str, reached: Path, go: Path
) -> None:
    """Publish; once the release's own files are sent, create the file `reached`, and go on once `go` is there."""
    send_content = upload._send_content

    def wait(*args: object) -> None:
        send_content(*args)
        reached.touch()
        while not go.exists():
            time.sleep(0.02)

    os.environ.update(environment)
    with patch.object(one_publisher, "BEAT_SECONDS", 0.2), patch.object(upload, "_send_content", wait):
        publish(release_dir, version, url)
