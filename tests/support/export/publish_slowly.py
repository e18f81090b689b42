"""Publish a release, and wait before what leads to it is sent: RELEASE_DIR VERSION URL SIGNAL GO BEAT.

The file SIGNAL is made when its own files are there; it goes on once there is the file GO. BEAT is how often, in
seconds, the publisher says that it lives.
"""

from __future__ import annotations

import sys
import time
from pathlib import Path

from ndl_export.publish import one_publisher, upload
from tests.support.export.bundles import publish

release_dir, version, url, signal, go, beat = sys.argv[1:]
one_publisher.BEAT_SECONDS = float(beat)
send_content = upload._send_content


def waiting(*args: object) -> None:
    send_content(*args)  # type: ignore[arg-type]
    Path(signal).touch()
    while not Path(go).exists():
        time.sleep(0.02)


upload._send_content = waiting  # type: ignore[assignment]
publish(Path(release_dir), version, url)
