"""Publish a release, but wait before sending the files that link to it: RELEASE_DIR VERSION URL SIGNAL GO BEAT.

The file SIGNAL is created once the release's own files are published; publishing continues once the file GO exists.
BEAT is the publisher's heartbeat in seconds.
"""

import sys
import time
from pathlib import Path

from ndl_export.publish import one_publisher, upload
from tests.support.export.bundles import publish

release_dir, version, url, signal, go, beat = sys.argv[1:]
one_publisher.BEAT_SECONDS = float(beat)
send_content = upload._send_content


def wait(*args: object) -> None:
    send_content(*args)
    Path(signal).touch()
    while not Path(go).exists():
        time.sleep(0.02)


upload._send_content = wait
publish(Path(release_dir), version, url)
