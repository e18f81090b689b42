"""The command that answers queries for published figures: `readiness serve`."""

import socket
from pathlib import Path

import click

from pipelines.commands.console import show_progress, stop

_AT_ONCE = 64
"""Requests that are answered at the same time; more are refused with 503."""
_LARGEST_HEAD = 16 * 2**10
"""Size limit of the head of a request, in bytes."""


@click.command()
@click.argument("release_directory", type=click.Path(path_type=Path, exists=True, file_okay=False))
@click.option("--host", default="127.0.0.1", show_default=True, help="Address to listen at.")
@click.option("--port", default=8080, show_default=True, type=click.IntRange(1, 65_535), help="Port to listen at.")
def serve(release_directory: Path, host: str, port: int) -> None:
    """Answer queries for published figures over HTTP.

    RELEASE_DIRECTORY holds bundles: the folder that `readiness publish` sent them to. It is only read, and nothing else
    is: no key and no home folder. A new release or a withdrawal is noticed within seconds. Serves until Ctrl-C; the
    page at / describes the API.
    """
    try:
        import uvicorn

        from ndl_export.api.queries import Latest
        from ndl_export.api.service import create_app
    except ImportError:
        stop("the service is not installed: install the project with its extra `serve` (`make setup` does)")
    try:
        listening = socket.create_server((host, port))
    except OSError:
        stop(f"nothing can listen at {host}:{port}. The service was not started: choose another --host or --port")
    with listening:
        with show_progress(f"Reading {release_directory}"):
            latest = Latest(release_directory)
            found = latest.count_releases()
        click.echo(f"http://{host}:{port}/  ({found} releases in {release_directory})", err=True)
        config = uvicorn.Config(
            create_app(latest),
            http="h11",
            h11_max_incomplete_event_size=_LARGEST_HEAD,
            limit_concurrency=_AT_ONCE,
            timeout_keep_alive=5,
            log_level="warning",
            # What readers ask for is nobody's business.
            access_log=False,
            server_header=False,
        )
        uvicorn.Server(config).run(sockets=[listening])
