"""The console logger: one plain line for each message of an asset, and none for Dagster's engine.

An asset reports in a message, or in the description of what it materialised. The intake reports on all its
materialisations together, in messages.
"""

from __future__ import annotations

import logging
import sys

import dagster as dg

from assets.catalogue.runs import STOPPED
from assets.intake.assets import EXTRACTS

_OF_THE_ENGINE = ("Dependencies for step", "Skipping step", "op '")


def _build_logger(_: dg.InitLoggerContext) -> logging.Logger:
    # not from `getLogger`, where each run of a process would add one more handler
    logger = logging.Logger("readiness", logging.DEBUG)
    handler = logging.StreamHandler(sys.stdout)
    handler.setFormatter(_Plain())
    handler.addFilter(_is_from_asset)
    logger.addHandler(handler)
    return logger


def _is_from_asset(record: logging.LogRecord) -> bool:
    """Check whether a record comes from an asset. Why a step stopped is left out: the command says so when it ends."""
    event = getattr(record, "dagster_meta", {}).get("dagster_event")
    if event is not None:
        return event.is_step_materialization and _is_told(event.step_materialization_data.materialization)
    return record.levelno >= logging.INFO and not _get_message(record).startswith((STOPPED, *_OF_THE_ENGINE))


def _is_told(materialization: dg.AssetMaterialization) -> bool:
    return bool(materialization.description) and materialization.asset_key not in EXTRACTS.values()


def _get_message(record: logging.LogRecord) -> str:
    return str(getattr(record, "dagster_meta", {}).get("orig_message", record.getMessage()))


progress_logger = dg.LoggerDefinition(
    _build_logger, config_schema={}, description="One plain line for each message of an asset"
)


class _Plain(logging.Formatter):
    def format(self, record: logging.LogRecord) -> str:
        return f"  {'! ' if record.levelno >= logging.ERROR else ''}{_get_message(record)}"
