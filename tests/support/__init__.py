"""What tests are built from, and no tests: builders of extracts and releases, fixtures, doubles, servers, validators.

A module of fixtures is imported by the `conftest.py` of each folder that uses it.
"""

from pathlib import Path

PROJECT = Path(__file__).resolve().parents[2]
