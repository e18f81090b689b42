"""Tests of the properties that a privacy reviewer relies on."""
