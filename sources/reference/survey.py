"""The survey of parents (`survey.yaml`): questions, answers and published labels."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import yaml


@dataclass(frozen=True)
class Question:
    """A question; `answers` maps each code to its label."""

    label: str
    wording: str
    answers: dict[str, str]


_SURVEY = yaml.safe_load((Path(__file__).parent / "survey.yaml").read_text(encoding="utf-8"))
RESPONDENT_ROLE: dict[str, str] = _SURVEY["respondents"]["respondent_role"]
CHILD_AGE_BAND: dict[str, str] = _SURVEY["respondents"]["child_age_band"]
FSM_OR_FUNDED: dict[str, str] = _SURVEY["respondents"]["fsm_or_funded"]
SERVICES: dict[str, str] = _SURVEY["services"]
"""Services that the family may have used, by column."""
QUESTIONS: dict[str, Question] = {name: Question(**content) for name, content in _SURVEY["questions"].items()}
