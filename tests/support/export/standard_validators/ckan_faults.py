"""Messages of CKAN's schema for new packages about bundles' packages.

Checks that need a running site are left out: whether a name is taken, and whether the organisation exists.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

from ckan.lib.navl.dictization_functions import validate
from ckan.logic.schema import default_create_package_schema
from ckan.model.license import LicenseRegister

NEED_A_SITE = {
    "empty_if_not_sysadmin",
    "ignore_not_package_admin",
    "ignore_not_sysadmin",
    "owner_org_validator",
    "package_id_does_not_exist",
    "package_name_validator",
    "resource_id_does_not_exist",
    "vocabulary_id_exists",
}


def skip_sites(schema: dict[str, Any]) -> dict[str, Any]:
    return {
        key: skip_sites(checks)
        if isinstance(checks, dict)
        else [check for check in checks if getattr(check, "__name__", "") not in NEED_A_SITE]
        for key, checks in schema.items()
    }


def list_faults(package: dict[str, Any]) -> list[str]:
    _, errors = validate(package, skip_sites(default_create_package_schema()), {})
    found = [f"{key}: {what}" for key, what in errors.items()]
    licences = {licence.id for licence in LicenseRegister().licenses}
    return found if package.get("license_id") in licences else [*found, "license_id: not a licence of CKAN"]


if __name__ == "__main__":
    packages = {folder: json.loads(Path(folder, "ckan_package.json").read_text("utf-8")) for folder in sys.argv[1:]}
    print(json.dumps({folder: {"ckan_package.json": list_faults(package)} for folder, package in packages.items()}))
