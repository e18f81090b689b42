"""Diagnosis of a wrong file: another source's, council's or cohort's extract, or columns under the wrong headings.

The intake uses it to say why an extract is stopped, onboarding to draft a council file.
"""
