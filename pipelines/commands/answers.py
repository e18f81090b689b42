"""Commands that answer from published releases alone: `readiness mcp` and `check-claim`."""

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import click
import yaml

from ndl_export.analyst_db.build import NothingReleased
from ndl_export.answers.claims import SUPPORTED, InvalidClaim, Judgement, check_claim
from ndl_export.answers.published import Published, open_published
from ndl_export.answers.questions import Questions
from ndl_export.answers.sentences import check_sentence
from pipelines.commands import options
from pipelines.commands.console import answer, end, show_progress, stop
from pipelines.ending import Ending

_TRANSPORTS = {"stdio": "stdio", "http": "streamable-http"}


@contextmanager
def _open(place: str) -> Iterator[Published]:
    with ExitStack() as stack:
        try:
            with show_progress(f"Reading {place}"):
                published = stack.enter_context(open_published(place))
        except (NothingReleased, ValueError) as error:
            stop(str(error))
        yield published


@click.command("check-claim")
@click.argument("place")
@click.argument("sentence", required=False)
@click.option("--claim", "file", type=options.FILE, help="A claim in parts, as YAML or JSON, instead of a sentence.")
@click.option("--evidence", is_flag=True, help="Add the evidence for the figures, for check-answer, to --json.")
@options.as_json
def check(place: str, sentence: str | None, file: Path | None, evidence: bool) -> None:
    """Check a sentence or a claim about published figures.

    PLACE is a release directory or its address. Prints the verdict (supported, not supported, cannot be said), the
    rule, and what can be said instead. Exit status 4 unless the claim is supported.
    """
    if (sentence is None) == (file is None):
        stop("give either a sentence or --claim with a file", Ending.USAGE)
    with _open(place) as published:
        questions = Questions(published)
        try:
            if file:
                judgement = check_claim(questions, yaml.safe_load(file.read_text(encoding="utf-8")))
            else:
                judgement = check_sentence(questions, sentence or "")
        except (InvalidClaim, yaml.YAMLError) as error:
            stop(f"{file}: {error}")
        proof = questions.prove(judgement.figures) if evidence and judgement.figures else {}
    answer(judgement.to_dict() | proof, lambda: _describe(judgement))
    if judgement.verdict != SUPPORTED:
        end(Ending.HOLD)


def _describe(judgement: Judgement) -> str:
    readings = [f"  could mean: {each}" for each in judgement.readings]
    corrected = f"What can be said: {judgement.corrected}" if judgement.corrected else ""
    return "\n".join(filter(None, (f"{judgement.verdict.capitalize()}. {judgement.reason}", *readings, corrected)))


@click.command()
@click.argument("place")
@click.option(
    "--transport",
    type=click.Choice(tuple(_TRANSPORTS)),
    default="stdio",
    show_default=True,
    help="stdio, for a client that starts the server, or http.",
)
@click.option("--host", default="127.0.0.1", show_default=True, help="Address to listen at.")
@click.option("--port", default=8081, show_default=True, type=click.IntRange(1, 65_535), help="Port to listen at.")
def mcp(place: str, transport: str, host: str, port: int) -> None:
    """Serve published figures to agents (Model Context Protocol).

    PLACE is a release directory or its address. Tools search, compare, rank, add up, cite and check claims; every
    answer says what may be concluded. Over HTTP, the endpoint is /mcp.
    """
    try:
        from ndl_export.answers.mcp import build_server
    except ImportError:
        stop("the server is not installed: install the project with its extra `mcp` (`make setup` does)")
    with _open(place) as published:
        server = build_server(published)
        if transport == "stdio":
            server.run("stdio")
        else:
            click.echo(f"http://{host}:{port}/mcp", err=True)
            server.run("streamable-http", host=host, port=port, stateless_http=True, json_response=True)
