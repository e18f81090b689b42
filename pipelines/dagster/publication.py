"""Publish what was made and held: the job of the release calendar. It cannot measure, and spends nothing."""

import datetime as dt

import dagster as dg

from assets.catalogue.installation import Installation
from assets.catalogue.steps import speaks_plainly
from ndl_export.publish.upload import publish
from pipelines import settings
from pipelines.dagster.calendar import calendar, held_until


class NotPublished(Exception):
    """The release is not put out; the message says why and what to do."""


class PublicationConfig(dg.Config):
    """Which release is published."""

    version: str


def check_may_be_published(version: str, now: dt.datetime) -> None:
    """Raise `NotPublished` before the moment that the calendar announces. Releases that it does not name pass."""
    if moment := held_until(calendar(settings.Settings.read().calendar), version, now):
        raise NotPublished(
            f"release {version} is announced for {moment:%d %B %Y at %H:%M}: it is held until then; to publish it at"
            " another time, change the release calendar first"
        )


@dg.op(description="Put a release that was made before at the place where readers get it.")
@speaks_plainly
def publish_op(context: dg.OpExecutionContext, config: PublicationConfig, installation: Installation) -> None:
    url = settings.Settings.read().publish_to
    if url is None:
        raise NotPublished(f"nobody said where to publish: set {settings.PUBLISH_TO} to a folder or a URL")
    check_may_be_published(config.version, dt.datetime.now(dt.UTC))
    publish(installation.home_folder.release, config.version, url, tell=context.log.info)


@dg.job(
    name="publication",
    description=(
        "Publish a release that was made and held, at the place of READINESS_PUBLISH_TO. Checks its signature first,"
        " sends what is missing, and spends nothing. Refused before the moment that the release calendar announces."
    ),
)
def publication_job() -> None:
    publish_op()
