"""Diagnosis of wrong rows: those of another council or cohort, or columns under the wrong headings.

The intake uses it to explain why an extract is stopped, onboarding to draft a council file.
"""
