# /// script
# requires-python = ">=3.11"
# dependencies = [
#     "duckdb>=1.2",
#     "marimo>=0.20",
#     "matplotlib>=3.9",
# ]
# ///
"""Five questions about a release, each answered with a chart from its files alone.

    uvx marimo run --sandbox questions.py

Run this in the folder of a release, or add `-- --database readiness.duckdb` for an analyst database of several
releases. `marimo edit` opens the notebook for changes. Titles, numbers in the text and charts are computed from the
files.
"""

import marimo

app = marimo.App(app_title="School readiness: five questions")


@app.cell(hide_code=True)
def _():
    import io
    import os
    from pathlib import Path

    import duckdb
    import marimo as mo
    import matplotlib

    matplotlib.use("agg")
    import matplotlib.pyplot as plt

    plt.rcParams.update(
        {
            "font.size": 11,
            "axes.spines.top": False,
            "axes.spines.right": False,
            "axes.titlelocation": "left",
            "axes.titleweight": "bold",
            "axes.titlepad": 14,
            "svg.fonttype": "none",
        }
    )
    return Path, duckdb, io, mo, os, plt


@app.cell(hide_code=True)
def _(Path, duckdb, mo, os):
    location = mo.cli_args().get("database") or os.environ.get("READINESS_DATABASE")
    here = Path(mo.notebook_dir() or ".")
    usual = [here / "database.sql", "readiness.duckdb", "release/readiness.duckdb", "home/release/readiness.duckdb"]
    found = [path for path in map(Path, [location] if location else usual) if path.is_file()]
    mo.stop(
        not found,
        mo.callout(
            mo.md(
                f"There is no database at {location or ', '.join(map(str, usual))}. Give its path: "
                "`marimo run questions.py -- --database PATH`, or set `READINESS_DATABASE`."
            ),
            kind="danger",
        ),
    )
    if found[0].suffix == ".sql":  # for the release in the same folder
        database = duckdb.connect()
        database.execute("SET file_search_path = '" + str(found[0].parent).replace("'", "''") + "'")
        database.execute(found[0].read_text(encoding="utf-8"))
    else:
        database = duckdb.connect(str(found[0]), read_only=True)

    def fetch_rows(sql, *values):
        """Return the rows of a query, each as a dictionary."""
        answer = database.execute(sql, values)
        names = [column[0] for column in answer.description]
        return [dict(zip(names, row, strict=True)) for row in answer.fetchall()]

    return (fetch_rows,)


@app.cell(hide_code=True)
def _(fetch_rows, mo):
    cohorts = {
        row["label"]: row["time_period"]
        for row in fetch_rows(
            "SELECT label, time_period FROM releases.current JOIN dimension.cohort USING (time_period)"
        )
    }
    mo.stop(not cohorts, mo.callout(mo.md("Every release in this database is withdrawn."), kind="danger"))
    cohort_choice = mo.ui.dropdown(dict(sorted(cohorts.items())), value=max(cohorts), label="Cohort")
    return (cohort_choice,)


@app.cell(hide_code=True)
def _(cohort_choice, fetch_rows, mo):
    cohort = cohort_choice.value
    [release] = fetch_rows(
        "SELECT r.*, c.label FROM releases.release AS r JOIN releases.current USING (release_version)"
        " JOIN dimension.cohort AS c USING (time_period) WHERE time_period = ?",
        cohort,
    )
    absent = "; ".join(release["missing"])
    notice = [mo.md(f"**{release['notice']}**")] if release.get("notice") else []
    mo.vstack(
        [
            *notice,
            mo.md(
                f"""
                # School readiness: five questions

                Release {release["release_version"]}, children who ended Reception in {release["label"]},
                {len(release["councils"])} councils. {f"Not sent: {absent}." if absent else ""}

                Lines through the points are 95% intervals: what it was for these children. They cover the noise that
                was added to protect children and, where records were linked, missed links. Whether it would be so for
                children like these is another question, and chance counts as well: titles that compare answer that
                one, and allow for the number of comparisons. Hollow points are figures flagged as unreliable; figures
                that are withheld are named below the chart.
                """
            ),
            cohort_choice,
        ]
    )
    return cohort, release


@app.cell(hide_code=True)
def _(fetch_rows, io, mo, plt):
    BLUE, ORANGE, GREY, BLACK = "#1d70b8", "#b35900", "#6f777b", "#0b0c0c"
    # All have a contrast of at least 4.5 to 1 with white; where colour has a meaning, shape or words show it too.

    def draw_picture(figure, title, alternative):
        """Return the chart below its title, as an image with a text alternative."""
        drawn = io.BytesIO()
        figure.savefig(drawn, format="png", dpi=200, bbox_inches="tight")
        plt.close(figure)
        return mo.vstack([mo.md(f"### {title}"), mo.image(drawn.getvalue(), alt=alternative, width="100%")])

    def show_number(number, row):
        """Return a number of a row as text: whole where the row's figure is flagged as unreliable."""
        [shown] = fetch_rows("SELECT percent_shown(?, ?) AS words", number, row.get("flag"))
        return shown["words"]

    def draw_intervals(axes, table, label, colour=lambda row: BLUE):
        """Draw a line and a point for each row, with the first row at the top."""
        shown = [row for row in table if row["percent"] is not None][:MOST]
        for height, row in enumerate(reversed(shown)):
            axes.plot([row["lower_ci"], row["upper_ci"]], [height, height], color=colour(row), linewidth=2)
            hollow = "white" if row["flag"] == "u" else colour(row)
            axes.plot(row["percent"], height, "o", color=colour(row), markerfacecolor=hollow, markersize=7)
            axes.annotate(
                show_number(row["percent"], row),
                (row["upper_ci"], height),
                xytext=(6, 0),
                textcoords="offset points",
                va="center",
                fontsize=10,
                color=BLACK,
            )
        axes.set_yticks(range(len(shown)), [label(row) for row in reversed(shown)])
        axes.set_ylim(-0.7, len(shown) - 0.3)
        axes.grid(axis="x", color="#e0e0e0", linewidth=0.8)
        axes.set_axisbelow(True)
        axes.tick_params(axis="y", length=0)

    def describe_row(row):
        shown, lower, upper = (show_number(row[name], row) for name in ("percent", "lower_ci", "upper_ci"))
        return f"{shown} (95% interval {lower} to {upper})"

    def join_words(names):
        return ", ".join(names[:-1]) + " and " + names[-1] if len(names) > 1 else "".join(names)

    def show_figures(table):
        """Return a table of the rows that a chart is drawn from."""
        return mo.accordion({"The figures": mo.ui.table(table, selection=None, page_size=25)})

    def answer(heading, title, about, text, table, label, unit, height=3.4, limits=(0, 100), together=None, **colours):
        """Return a question and its chart, with a text about it and the rows that it is drawn from."""
        figure, axes = plt.subplots(figsize=(8.4, height))
        draw_intervals(axes, table, label, **colours)
        if together is not None:
            axes.axvline(together, color=BLACK, linewidth=1, linestyle="--", label="All councils together")
            axes.legend(frameon=False, loc="lower right", fontsize=9)
        axes.set_xlim(*limits)
        axes.set_xlabel(unit)
        hidden = [label(row) for row in table if row["percent"] is None]
        if hidden:
            text += f" Withheld or not available: {'; '.join(hidden)}."
        drawn = draw_picture(figure, title, f"{about}, with intervals. {title}.")
        return mo.vstack([mo.md(f"## {heading}"), drawn, mo.md(text), show_figures(table)])

    MOST = 30  # councils that a chart has room for
    return BLACK, BLUE, GREY, MOST, ORANGE, answer, describe_row, draw_picture, join_words, show_figures, show_number


@app.cell(hide_code=True)
def _(BLACK, BLUE, GREY, ORANGE, cohort, draw_picture, fetch_rows, join_words, mo, plt, show_figures, show_number):
    funnel = fetch_rows("FROM gld_funnel('Total', cohort := ?)", cohort)
    england = fetch_rows(
        "SELECT gld_children_percent AS percent FROM official.gld WHERE geographic_level = 'National'"
        " AND time_period = ? AND breakdown = 'Total' AND sex = 'Total'",
        cohort,
    )
    placed = [row for row in funnel if row["gld_percent"] is not None and row["all_together_percent"] is not None]
    mo.stop(not placed, mo.md("## 1. Which councils differ from all of them together?\n\nToo little is known to say."))
    sides = [([row["area_name"] for row in placed if row["verdict"] == side], side) for side in ("ahead", "behind")]
    says = "; ".join(
        f"{join_words(names)} {'is' if len(names) == 1 else 'are'} {side} by more than chance and noise explain"
        for names, side in sides
        if names
    )
    funnel_title = says or "No council differs by more than chance and noise explain"

    funnel_figure, funnel_axes = plt.subplots(figsize=(9, 5.2))
    by_size = sorted(placed, key=lambda row: row["children"])
    for limit, name in (("lower_limit", "Limits of each council"), ("upper_limit", None)):
        funnel_axes.plot(
            [r["children"] for r in by_size], [r[limit] for r in by_size], "_", color=GREY, markersize=16, label=name
        )
    funnel_axes.axhline(placed[0]["all_together_percent"], color=BLACK, linewidth=1, label="All councils together")
    if england:
        funnel_axes.axhline(
            england[0]["percent"], color=ORANGE, linewidth=1.5, linestyle=":", label="England, official"
        )
    rates = {
        row["area_name"]: row
        for row in fetch_rows(
            "SELECT area_name, is_all_together, gld_children_percent_flag::VARCHAR AS flag,"
            " gld_children_percent_lower_ci AS lower_ci, gld_children_percent_upper_ci AS upper_ci"
            " FROM releases.gld_by_group JOIN releases.current USING (release_version, time_period)"
            " WHERE group_key = 'Total' AND time_period = ?",
            cohort,
        )
    }
    all_together = next(row for row in rates.values() if row["is_all_together"])
    for row in placed:
        own = rates[row["area_name"]]
        outside = row["verdict"] in ("ahead", "behind")
        colour = ORANGE if outside else BLUE
        funnel_axes.plot([row["children"]] * 2, [own["lower_ci"], own["upper_ci"]], color=colour, linewidth=2, zorder=3)
        funnel_axes.plot(
            row["children"], row["gld_percent"], "D" if outside else "o", color=colour, markersize=7, zorder=3
        )
        if outside or len(placed) <= 20:
            funnel_axes.annotate(
                row["area_name"],
                (row["children"], row["gld_percent"]),
                xytext=(7, 5),
                zorder=1,
                bbox={"facecolor": "white", "edgecolor": "none", "alpha": 0.8, "pad": 0.5},
                textcoords="offset points",
                fontsize=9,
            )
    funnel_axes.set_xlabel("Children assessed")
    funnel_axes.set_ylabel("Good level of development, %")
    funnel_axes.set_xlim(0, max(row["children"] for row in placed) * 1.15)
    funnel_axes.xaxis.set_major_formatter(lambda value, _: f"{value:,.0f}")
    funnel_axes.legend(frameon=False, loc="upper center", bbox_to_anchor=(0.5, -0.13), ncols=4, fontsize=9)
    mo.vstack(
        [
            mo.md("## 1. Which councils differ from all of them together?"),
            draw_picture(
                funnel_figure, funnel_title, f"Funnel plot of councils by number of children. {funnel_title}."
            ),
            mo.md(
                f"Of all children assessed, {show_number(placed[0]['all_together_percent'], all_together)}% reached a"
                " good level of development"
                + (f"; in England it was {england[0]['percent']:.1f}%. " if england else ". ")
                + "The limits count the chance of small numbers, the noise and the number of councils: if none"
                " differed, 5 of 100 releases at most would put any outside. "
                + "A council outside its limits is a question to ask: they know nothing of who lives there."
            ),
            show_figures(funnel),
        ]
    )
    return


@app.cell(hide_code=True)
def _(MOST, answer, cohort, describe_row, fetch_rows, join_words, mo):
    gaps = fetch_rows(
        """
        SELECT area_name, gld_difference_points AS percent, round(gld_difference_points_lower_ci, 1) AS lower_ci,
               round(gld_difference_points_upper_ci, 1) AS upper_ci, gld_difference_points_flag::VARCHAR AS flag
        FROM releases.gld_differences JOIN releases.current USING (release_version, time_period)
        WHERE time_period = ? AND comparison = 'Not eligible less eligible' AND geographic_level = 'Local authority'
        ORDER BY gld_difference_points DESC NULLS LAST""",
        cohort,
    )
    [all_gap] = fetch_rows(
        """
        SELECT gld_difference_points AS percent, gld_difference_points_lower_ci AS lower_ci,
               gld_difference_points_upper_ci AS upper_ci, gld_difference_points_flag::VARCHAR AS flag
        FROM releases.gld_differences JOIN releases.current USING (release_version, time_period)
        WHERE time_period = ? AND comparison = 'Not eligible less eligible' AND is_all_together""",
        cohort,
    )
    known_gaps = [row for row in gaps if row["percent"] is not None and all_gap["percent"] is not None]
    mo.stop(not known_gaps, mo.md("## 2. Where is the gap widest?\n\nToo little is known to say."))
    widest = known_gaps[0]
    rivals = [
        row["area_name"]
        for row in fetch_rows(
            """
            SELECT less_area_name AS area_name FROM gld_compared(?, ?, false, ?, ?)
            WHERE area_name = ? AND less_is_council AND verdict = 'cannot say' ORDER BY less_percent DESC""",
            *["Not eligible less eligible"] * 2,
            *[cohort] * 2,
            widest["area_name"],
        )
    ]
    gap_title = (
        f"The gap may be widest in {widest['area_name']} or {join_words(rivals)}: it may be noise and chance"
        if 0 < len(rivals) < 4
        else f"{len(rivals) + 1} councils may have the widest gap: it may be noise and chance"
        if rivals
        else f"The gap is widest in {widest['area_name']}: {describe_row(widest)} points"
    )
    more = f" The {MOST} widest of {len(known_gaps)} are drawn." if len(known_gaps) > MOST else ""
    answer(
        "2. Where are children eligible for free school meals furthest behind?",
        gap_title,
        "Gap by council",
        f"Over all councils, eligible children are {describe_row(all_gap)} points behind. Intervals are those of the"
        " gaps as they were for these children. The title compares the widest with every other for children like"
        " these: noise, chance and the number of pairs. So does the worked query on the widest gap, for all of"
        " them." + more,
        gaps,
        lambda row: row["area_name"],
        "Points that children eligible for free school meals are behind the others",
        height=1.2 + 0.42 * min(len(known_gaps), MOST),
        limits=(min(0, *(row["lower_ci"] for row in known_gaps)), None),
        together=all_gap["percent"],
    )
    return


@app.cell(hide_code=True)
def _(answer, cohort, describe_row, fetch_rows):
    reviews = fetch_rows(
        """
        SELECT asq3_outcome::VARCHAR AS outcome, children_count AS children, gld_children_percent AS percent,
               round(gld_children_percent_lower_ci, 1) AS lower_ci, round(gld_children_percent_upper_ci, 1) AS upper_ci,
               gld_children_percent_flag::VARCHAR AS flag
        FROM releases.readiness_pathway JOIN releases.current USING (release_version, time_period)
        WHERE time_period = ? AND is_all_together AND fsm_eligibility = 'Total' AND asq3_outcome <> 'Total'
        ORDER BY asq3_outcome""",
        cohort,
    )
    [step] = fetch_rows(
        """
        SELECT points AS percent, lower_ci, upper_ci, coalesce(is_certain AND points > 0, false) AS is_ahead
        FROM gld_difference('All councils', 'All five domains at or above the cut-off',
                            'All councils', 'Two or more domains below the cut-off', cohort := ?)""",
        cohort,
    )
    review_title = (
        f"Children at or above every cut-off at two are {step['percent']:.0f} points ahead of those below two or more"
        if step["is_ahead"]
        else "The two-year review and a good level of development"
    )
    answer(
        "3. What became of children by their two-year review?",
        review_title,
        "Rate by outcome of the review",
        (f"For children like these the difference is {describe_row(step)} points. " if step["percent"] else "")
        + "It is an association among children whose review could be linked, not an effect of the review.",
        reviews,
        lambda row: f"{row['outcome']}\n{row['children']:,} children",
        "Good level of development, %",
    )
    return


@app.cell(hide_code=True)
def _(BLUE, ORANGE, answer, cohort, fetch_rows):
    dots = fetch_rows(
        """
        SELECT seen_by::VARCHAR AS seen_by, concern_by::VARCHAR AS concern_by, children_count AS children,
               children_count_estimate AS estimate, round(children_count_lower_ci) AS children_lower_ci,
               round(children_count_upper_ci) AS children_upper_ci,
               gld_children_percent AS percent, round(gld_children_percent_lower_ci, 1) AS lower_ci,
               round(gld_children_percent_upper_ci, 1) AS upper_ci, gld_children_percent_flag::VARCHAR AS flag
        FROM releases.joined_dots AS d JOIN releases.current USING (release_version, time_period)
        WHERE time_period = ? AND is_all_together
          AND ((d.seen_by = 'Both' AND d.concern_by <> 'Total') OR (d.seen_by = 'Neither' AND d.concern_by = 'Total'))
        ORDER BY d.seen_by, d.concern_by""",
        cohort,
    )
    one_only = [row for row in dots if row["concern_by"] in ("Health visitor only", "Setting only")]
    others = [row for row in dots if row["seen_by"] == "Both" and row not in one_only]

    def compute_share(of_one, of_others):
        """Return the share of children with one concern from these columns; limits of sums are sums of limits."""
        part = sum(row[of_one] for row in one_only)
        return part / (part + sum(row[of_others] for row in others))

    dots_title = (
        f"Of children seen by both services, only one of the two was concerned for"
        f" {compute_share('estimate', 'estimate'):.0%}"
        f" (at least {compute_share('children_lower_ci', 'children_upper_ci'):.1%},"
        f" at most {compute_share('children_upper_ci', 'children_lower_ci'):.1%})"
    )
    words = {
        "Both": "Both were concerned",
        "Health visitor only": "Only the health visitor was",
        "Setting only": "Only the setting was",
        "None": "Neither was concerned",
        "Total": "Not seen by either, or not linked",
    }
    answer(
        "4. Which children did no one join up?",
        dots_title,
        "Rate by who was concerned",
        "Orange: both services saw the child, and one had a concern that the other did not record. A child whose"
        " records could not be linked looks like one whom nobody saw.",
        dots,
        lambda row: f"{words[row['concern_by']]}\n{row['children']:,} children",
        "Good level of development, %",
        colour=lambda row: ORANGE if row in one_only else BLUE,
    )
    return


@app.cell(hide_code=True)
def _(answer, cohort, describe_row, fetch_rows):
    parents = fetch_rows(
        """
        SELECT q.wording, p.answer::VARCHAR AS answer, p.response_percent AS percent,
               round(p.response_percent_lower_ci, 1) AS lower_ci, round(p.response_percent_upper_ci, 1) AS upper_ci,
               p.response_percent_flag::VARCHAR AS flag
        FROM releases.parent_experience AS p JOIN releases.current USING (release_version, time_period)
        JOIN dimension.question AS q ON q.question = p.question
        WHERE time_period = ? AND is_all_together AND q.code = 'repeat_story_count' AND breakdown = 'Total'
        ORDER BY p.answer""",
        cohort,
    )
    shown_answers = [row for row in parents if row["percent"] is not None]
    most = max(shown_answers, key=lambda row: row["percent"], default=None)
    clear = most and [most["answer"]] == [
        row["item"]
        for row in fetch_rows(
            """
            SELECT item FROM could_be_extreme(?) AS c JOIN dimension.area AS a USING (area_code)
            JOIN dimension.question AS q ON q.question::VARCHAR = c.of_what
            WHERE a.is_all_together AND c.could_be AND q.code = 'repeat_story_count'""",
            cohort,
        )
    ]
    parents_title = (
        f"{'The commonest answer is' if clear else 'No answer is surely the commonest; first is'}"
        f" “{most['answer'].lower()}”, {describe_row(most)} per cent"
        if most
        else "Too few responses to say"
    )
    answer(
        f"5. “{parents[0]['wording']}”" if parents else "5. What parents say",
        parents_title,
        "Share of each answer",
        "Of the parents who answered the survey, who are no sample of all parents.",
        parents,
        lambda row: row["answer"],
        "Responses, %",
        height=3.2,
        limits=(0, None),
    )
    return


@app.cell(hide_code=True)
def _(mo):
    mo.md("""
    ## Go on from here

    `FROM help.start` in the same database says where to begin, `FROM help.worked_queries` has more questions with
    their queries, `FROM help.macros` the macros. In the folder of a release `duckdb -init database.sql` opens it.

    Nothing need be downloaded: DuckDB reads a published database over https, pandas and polars its tables. R and Excel
    take `<table>_all_rows.csv`.

    ```sql
    ATTACH 'https://data.example.org/readiness/readiness.duckdb' AS readiness (READ_ONLY);
    USE readiness;
    SELECT in_words FROM gld_rate('leeds', 'fsm');
    ```

    ```python
    import pandas as pd

    headline = pd.read_parquet("https://data.example.org/readiness/2026.11.0/gld_headline.parquet")
    ```

    The address is an example: put the publisher's in its place, which the release's `README.md` says.
    """)
    return


if __name__ == "__main__":
    app.run()
