"""Shared parts of asset definitions: descriptions, checks, options of a run, and arguments of the release zone."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import dagster as dg

from assets.catalogue import descriptions
from assets.catalogue.runs import COHORTS
from privacy.doors.shipped import read_yaml

RELEASE = "release"
PUBLISHED: Any = {"group_name": RELEASE, "owners": ["team:publishing"], "tags": {"zone": RELEASE}}
"""Arguments that all assets of the release zone share."""


@dataclass(frozen=True)
class Words:
    """Texts that Dagster shows, from a file `words.yaml`: of assets, of their checks, and of the options of a run."""

    assets: Mapping[str, str]
    checks: Mapping[str, str]
    options: Mapping[str, Mapping[str, str]]

    @classmethod
    def read(cls, path: Path) -> "Words":
        return cls(**read_yaml(path))

    def build_field(self, step: str, name: str, kind: Any = str, **options: Any) -> dg.Field:
        """Return an option of a run.

        Plain fields, because `dg.Config` accepts `{"env": NAME}` for any text: a message or tag that repeated the value
        would then show a variable of the run's environment, such as the password in a ledger's URL.
        """
        return dg.Field(kind, description=self.options[step][name], **options)

    def build_check_spec(
        self, key: dg.AssetKey, name: str, *, by_cohort: bool = True, **values: object
    ) -> dg.AssetCheckSpec:
        words = self.checks[name].format(**values)
        return dg.AssetCheckSpec(name, asset=key, partitions_def=COHORTS if by_cohort else None, description=words)


def build_check_result(
    key: dg.AssetKey, name: str, *, passed: bool, words: str, warns: bool = False, **numbers: float
) -> dg.AssetCheckResult:
    """Return the result of a check; a check that only `warns` does not count as an error."""
    severity = dg.AssetCheckSeverity.WARN if warns else dg.AssetCheckSeverity.ERROR
    metadata = descriptions.check_metadata(numbers)
    return dg.AssetCheckResult(
        passed=passed, asset_key=key, check_name=name, severity=severity, description=words, metadata=metadata
    )
