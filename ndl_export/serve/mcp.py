"""An MCP server: agents search the published statistics, get figures, compare, add up, cite and check claims.

Every answer says what may be concluded and what may not. A question that the releases cannot answer is refused, with
the nearest one that they can. The server reads published files only.
"""

from collections.abc import Callable
from dataclasses import asdict
from functools import wraps
from typing import Annotated, Any

from mcp.server import MCPServer
from mcp.server.mcpserver.tools import Tool
from pydantic import Field, create_model

from ndl_export.answers.claims import LONGEST_NAME, Claim, check_claim
from ndl_export.answers.published import Published
from ndl_export.answers.questions import NEVER_CONCLUDED, Answer, NoSuchFigure, Questions, is_england
from ndl_export.answers.vocabulary import TOGETHER, NameIndex

_INSTRUCTIONS = (
    "Official statistics on school readiness, with privacy noise and an interval on every figure. Never compare, add up"
    " or rank figures yourself: ask `compare`, `add_up` and `rank`, which count noise, chance and the number of"
    " comparisons. Repeat what may and may not be concluded. Give interval, flag, cohort and release with"
    " each figure, and cite with `cite`. Before you publish a sentence, pass it to `check_claim`."
)
_MOST_GROUPS, _MOST_AREAS, _MOST_PROVED = 20, 200, 1000
"""Limits above any real question: England has 153 councils, and adding up takes longer with each."""
Words = Annotated[str, Field(max_length=LONGEST_NAME)]
Measure = Annotated[Words, Field(description="What was measured, in plain words or as `search` names it")]
Area = Annotated[Words, Field(description="A council, an area of several, or 'all councils'")]
Groups = Annotated[
    list[Words],
    Field(description="Groups of children, goals or answers: 'girls', 'FSM', 'Writing'", max_length=_MOST_GROUPS),
]
Cohort = Annotated[Words | None, Field(description="School year in which Reception ended, '2024/25'; else the newest")]
OtherArea = Annotated[Words | None, Field(description="The other area, or 'England' for its official figure")]
OtherGroups = Annotated[
    list[Words] | None, Field(description="The other groups; the same ones if absent", max_length=_MOST_GROUPS)
]


def build_server(published: Published) -> MCPServer:
    """Return a server that offers the tools."""
    questions = Questions(published)
    tools = _Tools(questions, NameIndex(questions.vocabulary))
    offered = (
        *(tools.list_releases, tools.search, tools.describe_table, tools.get_figures, tools.compare, tools.rank),
        *(tools.trend, tools.add_up, tools.distance_from_target, tools.cite, tools.prove, tools.check_claim),
    )
    return MCPServer(
        "school-readiness",
        title="School readiness statistics",
        instructions=_INSTRUCTIONS,
        tools=[_build_tool(tool, published.signature) for tool in offered],
    )


def _answer_all(tool: Callable[..., dict[str, Any]], signature: str) -> Callable[..., dict[str, Any]]:
    """Wrap a tool so that it returns refusals as answers, in which agents read the reason and what comes nearest.

    Every answer says whether the signature was checked.
    """

    @wraps(tool)
    def answer(*args: Any, **named: Any) -> dict[str, Any]:
        try:
            found = tool(*args, **named)
        except NoSuchFigure as error:
            found = {"refused": True, "answer": str(error), "figures": []}
        return found | {"signature": signature}

    return answer


def _build_tool(tool: Callable[..., dict[str, Any]], signature: str) -> Tool:
    """Return a tool that refuses arguments it does not have: without them, the answer would be about something else."""
    built = Tool.from_function(_answer_all(tool, signature), name=tool.__name__, description=tool.__doc__)
    known = built.fn_metadata.arg_model
    strict = create_model(known.__name__, __base__=known, __cls_kwargs__={"extra": "forbid"})
    metadata = built.fn_metadata.model_copy(update={"arg_model": strict})
    return built.model_copy(update={"fn_metadata": metadata, "parameters": strict.model_json_schema(by_alias=True)})


class _Tools:
    """The tools, one method each; their docstrings are what agents read."""

    def __init__(self, questions: Questions, index: NameIndex) -> None:
        self._questions, self._index = questions, index

    def list_releases(self) -> dict[str, Any]:
        """List the releases, their cohorts, councils, and what was withdrawn or not sent."""
        published = self._questions.published
        found = published.query(
            """SELECT release_version AS release, published_on::VARCHAR AS published_on, cohorts, councils,
                      missing AS not_sent, withdrawn_because AS withdrawn, notice, epsilon
               FROM releases.release ORDER BY position"""
        )
        return {"releases": found, "current": published.current}

    def search(self, words: Words, limit: Annotated[int, Field(ge=1, le=50)] = 10) -> dict[str, Any]:
        """Search the published statistics by plain words, such as 'free school meals' or 'seen by no one'.

        Each result has the measure and the groups to ask `get_figures` for.
        """
        found = [(each, self._questions.vocabulary.tables[each.table]) for each in self._index.search(words, limit)]
        return {
            "found": [
                {
                    "table": each.table,
                    "title": table.title,
                    "measure": each.measure,
                    "label": table.get_measure(each.measure).label,
                    "groups": each.keys,
                }
                for each, table in found
            ]
        }

    def describe_table(self, table: Words) -> dict[str, Any]:
        """Describe a table: what it counts, who is in it, its measures, and the categories of its filters."""
        tables = self._questions.vocabulary.tables
        if table not in tables:
            raise NoSuchFigure(f"There is no table {table!r}. Tables: {', '.join(tables)}.")
        found = tables[table]
        categories: dict[str, dict[str, None]] = {}
        for each in self._questions.vocabulary.statistics:
            for label, category in sorted(each.signature) if each.table == table else ():
                categories.setdefault(label, {}).setdefault(category)
        return {
            "table": table,
            "title": found.title,
            "description": found.description,
            "population": found.population,
            "measures": [
                {"measure": m.name, "label": m.label, "unit": m.unit_in_words, "definition": m.description}
                for m in found.measures
            ],
            "groups": {label: list(values) for label, values in categories.items()},
        }

    def get_figures(self, measure: Measure, area: Area, groups: Groups = [], cohort: Cohort = None) -> dict[str, Any]:  # noqa: B006
        """Get a published figure with its interval, its flag, and what may be concluded from it."""
        return self._answer(self._questions.answer_figure(self._questions.read_subject(measure, area, groups, cohort)))

    def compare(
        self,
        measure: Measure,
        area: Area,
        than_area: OtherArea = None,
        groups: Groups = [],  # noqa: B006
        than_groups: OtherGroups = None,
        cohort: Cohort = None,
        than_cohort: Annotated[Words | None, Field(description="The other cohort")] = None,
        than_measure: Annotated[Words | None, Field(description="The other measure, if it is a different one")] = None,
    ) -> dict[str, Any]:
        """Compare a figure with that of another area, group or cohort: ahead, behind, or the data cannot say.

        The verdict counts the privacy noise, chance, and how many comparisons the release makes.
        """
        one = self._questions.read_subject(measure, area, groups, cohort)
        if than_area and is_england(than_area):
            return self._answer(self._questions.answer_beside_england(one))
        other = self._questions.read_subject(
            than_measure or measure,
            than_area or area,
            groups if than_groups is None else than_groups,
            than_cohort or cohort,
        )
        if other == one:
            raise NoSuchFigure("Both sides are the same figure: name another area, groups or cohort.")
        return self._answer(self._questions.answer_comparison(one, other))

    def rank(self, measure: Measure, groups: Groups = [], cohort: Cohort = None) -> dict[str, Any]:  # noqa: B006
        """Rank councils by a figure: for each the ranks that noise and chance leave possible."""
        subject = self._questions.read_subject(measure, TOGETHER, groups, cohort)
        return self._answer(self._questions.answer_ranking(subject.statistic, subject.cohort))

    def trend(self, measure: Measure, area: Area, groups: Groups = []) -> dict[str, Any]:  # noqa: B006
        """Show how a figure moved from cohort to cohort, and whether each change is more than noise and chance."""
        subject = self._questions.read_subject(measure, area, groups)
        return self._answer(self._questions.answer_trend(subject.statistic, subject.area_code))

    def add_up(
        self,
        areas: Annotated[list[Words], Field(max_length=_MOST_AREAS)],
        groups: Groups = [],  # noqa: B006
        cohort: Cohort = None,
    ) -> dict[str, Any]:
        """Add up areas, or groups that do not overlap: their good level of development, with the right interval."""
        return self._answer(self._questions.answer_sum(areas, groups, cohort))

    def distance_from_target(self, area: Area, groups: Groups = [], cohort: Cohort = None) -> dict[str, Any]:  # noqa: B006
        """Show how far an area is from the national ambition, in points and in children, and whether it is met."""
        subject = self._questions.read_subject("gld_children_percent", area, groups, cohort)
        return {**self._answer(self._questions.answer_target(subject)), "targets": self._questions.find_target(subject)}

    def cite(
        self, release: Annotated[Words | None, Field(description="A release; the newest")] = None
    ) -> dict[str, Any]:
        """Give the citation, licence and notice of a release."""
        version = release or max(self._questions.published.current.values(), default=None)
        if version is None or version not in self._questions.published.bundles:
            raise NoSuchFigure(
                f"There is no release {version}. Releases: {', '.join(self._questions.published.bundles)}."
            )
        return self._questions.cite(version)

    def prove(
        self,
        figures: Annotated[
            list[dict[str, Any]], Field(description="Figures as they were answered", max_length=_MOST_PROVED)
        ],
    ) -> dict[str, Any]:
        """Prove figures: their rows, and the hashes that lead to the release's signed checksums.

        The result is a document for `readiness check-answer`, which needs neither the release nor a network.
        """
        return self._questions.prove(figures)

    def check_claim(self, claim: Claim) -> dict[str, Any]:
        """Check a claim before it is published: supported, not supported or cannot be said; with what can be said.

        Split a sentence into its claims, one call for each, and compare what was judged with the sentence.
        """
        judgement = check_claim(self._questions, claim)
        cited = self._cite_all(judgement.figures)
        return asdict(judgement) | {"may_not_conclude": NEVER_CONCLUDED, "cite": cited}

    def _cite_all(self, figures: list[dict[str, Any]]) -> list[dict[str, Any]]:
        return [self._questions.cite(version) for version in sorted({figure["release"] for figure in figures})]

    def _answer(self, answer: Answer) -> dict[str, Any]:
        return {
            "answer": answer.sentence,
            **({"verdict": answer.verdict} if answer.verdict else {}),
            "may_conclude": answer.may_conclude,
            "may_not_conclude": answer.may_not_conclude,
            "figures": answer.figures,
            "cite": self._cite_all(answer.figures),
        }
