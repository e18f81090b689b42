"""Publish a release and be killed while publishing: RELEASE_DIR VERSION URL LOG STEPS.

After STEPS files are in place, the process is killed while it sends the next ones. LOG has a line for every file.
"""

import os
import signal
import sys
import threading
from pathlib import Path

from ndl_export.files.stores import Store
from ndl_export.publish import one_publisher
from tests.support.export.bundles import publish

release_dir, version, url, log, steps = sys.argv[1:]
put, done, lock = Store.put, 0, threading.Lock()


def put_and_count(self: Store, name: str, content: bytes, *, changes: bool) -> None:
    """Put a file and log it; once STEPS files are in place, kill the process shortly after the next one begins."""
    global done
    if name.startswith(one_publisher.FOLDER):
        return put(self, name, content, changes=changes)
    if done >= int(steps):
        threading.Timer(0.002, os.kill, (os.getpid(), signal.SIGKILL)).start()
    put(self, name, content, changes=changes)
    with lock, Path(log).open("a") as noted:
        noted.write(f"{name}\n")
        done += 1


one_publisher.DEAD_AFTER_SECONDS = 0.5
Store.put = put_and_count
publish(Path(release_dir), version, url)
