"""The true children have the published margins."""

from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from sources import reference
from sources.reference.cohorts import Cohort
from sources.synthetic import DEFAULT_SEED, margins
from sources.synthetic.attainment import EXPECTED, NOT_ASSESSED, draw_attainment
from sources.synthetic.drawing import build_streams
from sources.synthetic.people import draw_people
from sources.synthetic.recording import draw_world

PUBLISHED = pd.read_csv(Path(reference.__file__).parent / "published_eyfsp_202425.csv")
KEYS = ["area_code", "breakdown_topic", "breakdown", "sex"]


@pytest.fixture(scope="module")
def compared() -> pd.DataFrame:
    """Each published figure of a pilot council beside that of the true children."""
    world = draw_world(Cohort("202425"), DEFAULT_SEED, False, 1.0, False)
    people, pupils = world.people, world.people.pupil
    codes = np.array([place.new_la_code for place in world.margins.councils])
    children = pd.DataFrame({"area_code": codes[people.council[pupils]], "gld": world.attainment.gld[pupils]})
    topics = {topic: np.array(margins.TOPICS[topic])[index[pupils]] for topic, index in people.categories.items()}
    sexes = topics.pop(margins.SEX)
    everyone = np.full(len(children), "Total")
    parts = [
        children.assign(breakdown_topic=topic, breakdown=breakdown, sex=sex)
        for topic, breakdown in ({"Total": everyone} | topics).items()
        for sex in (everyone, sexes)
    ]
    truth = pd.concat(parts).groupby(KEYS).gld.agg(children_count="size", gld_children_count="sum").reset_index()
    return truth.merge(PUBLISHED.rename(columns={"new_la_code": "area_code"}), on=KEYS, suffixes=("", "_published"))


def test_council_totals_and_sex_are_exact(compared: pd.DataFrame) -> None:
    rows = compared[compared.breakdown_topic == "Total"]
    assert len(rows) == 8 + 2 * 5
    assert (rows.children_count == rows.children_count_published).all()


def test_gld_of_councils_is_within_a_percentage_point(compared: pd.DataFrame) -> None:
    rows = compared[(compared.breakdown_topic == "Total") & (compared.sex == "Total")]
    gap = 100 * rows.gld_children_count / rows.children_count - rows.gld_children_percent
    assert gap.abs().max() < 1.0


def test_gld_of_breakdowns_is_within_sampling_error(compared: pd.DataFrame) -> None:
    rows = compared.dropna(subset=["gld_children_percent"])
    share = (rows.gld_children_percent / 100).clip(0.01, 0.99)
    error = np.sqrt(share * (1 - share) / rows.children_count)
    score = (rows.gld_children_count / rows.children_count - share) / error
    assert len(score) > 20
    assert score.abs().max() < 3.5


def test_national_margins() -> None:
    """A tenth of England keeps the national shares at GLD."""
    cohort, figures, places = Cohort("202425"), margins.build_margins(True, 0.1), margins.build_geography(True)
    people = draw_people(build_streams(7, cohort), cohort, figures, places)
    outcome = draw_attainment(build_streams(7, cohort), people, figures, places.get_quintile(people.postcode))
    pupils = people.pupil
    assert len(figures.councils) == 153
    assert pupils.sum() == pytest.approx(58_947, abs=80)
    gld = outcome.gld[pupils]
    assert gld.mean() == pytest.approx(0.683, abs=0.006)
    for topic, rates in figures.pooled_rates.items():
        group = people.categories[topic][pupils]
        for index in np.flatnonzero(~np.isnan(rates)):
            size = (group == index).sum()
            assert gld[group == index].mean() == pytest.approx(rates[index], abs=3.5 * 0.5 / np.sqrt(size)), topic
    assert (outcome.goals[:, 0] == NOT_ASSESSED).mean() == pytest.approx(0.01, abs=0.004)
    assert ((outcome.goals[:, :12] == EXPECTED).all(axis=1) == gld).all()
