"""The browser that tests look for, and the mark of tests that need one."""

from __future__ import annotations

import shutil

import pytest

CHROMIUM = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
IN_A_BROWSER = pytest.mark.skipif(CHROMIUM is None, reason="no chromium on PATH")
