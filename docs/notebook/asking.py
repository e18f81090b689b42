# /// script
# requires-python = ">=3.11"
# dependencies = [
#     "duckdb>=1.2",
#     "marimo>=0.20",
#     "matplotlib>=3.9",
# ]
# ///
"""An analysis written on synthetic children, and its answer from the table on request that was measured for it.

    uvx marimo edit --sandbox docs/notebook/asking.py -- --synthetic synthetic --database readiness.duckdb

with the folder that `readiness synthesise` made of a release, and an analyst database. Before the request is answered,
it goes as far as the request.
"""

import marimo

app = marimo.App(app_title="From synthetic children to a table of your own")


@app.cell(hide_code=True)
def _():
    import io
    import json
    import math
    import os
    from pathlib import Path

    import duckdb
    import marimo as mo
    import matplotlib

    matplotlib.use("agg")
    import matplotlib.pyplot as plt

    plt.rcParams.update({"font.size": 11, "axes.spines.top": False, "axes.spines.right": False})
    return Path, duckdb, io, json, math, mo, os, plt


@app.cell(hide_code=True)
def _(Path, duckdb, json, mo, os):
    given = {
        name: mo.cli_args().get(name) or os.environ.get(f"READINESS_{name.upper()}")
        for name in ("synthetic", "database")
    }
    synthetic = Path(given["synthetic"] or "synthetic")
    file = Path(given["database"] or "release/readiness.duckdb")
    absent = [str(path) for path in (synthetic / "synthetic_children.parquet", file) if not path.is_file()]
    mo.stop(
        bool(absent),
        mo.callout(
            mo.md(f"There is no {' and no '.join(absent)}: give `-- --synthetic FOLDER --database FILE`."),
            kind="danger",
        ),
    )
    about = json.loads((synthetic / "datapackage.json").read_text(encoding="utf-8"))
    database = duckdb.connect(str(file), read_only=True)
    children = duckdb.read_parquet(str(synthetic / "synthetic_children.parquet"))

    def dictionaries(relation):
        """The rows of a query, each as a dictionary."""
        return [dict(zip(relation.columns, row, strict=True)) for row in relation.fetchall()]

    return about, children, database, dictionaries


@app.cell(hide_code=True)
def _(about, mo):
    mo.md(
        f"""
        # From synthetic children to a table of your own

        Does the gap by free school meals differ between ethnic groups? No table of release {about["version"]} has both
        together, and the linked rows are seen by nobody outside. But the release has synthetic children, of the same
        columns and categories.

        ## 1. Write the analysis on synthetic children

        A table first, as a table on request would have it: each column at its categories and at its total, which
        counts children whose category is unknown as well.
        """
    )
    return


@app.cell
def _(children, dictionaries):
    table = dictionaries(
        children.query(
            "children",
            """
            SELECT coalesce(ethnic_group, 'Total') AS ethnic_group, coalesce(fsm, 'Total') AS fsm_eligibility,
                   count(*) AS children, round(100 * avg((gld = 'Yes')::INTEGER), 1) AS percent
            FROM children GROUP BY CUBE (ethnic_group, fsm)
            HAVING ethnic_group IS DISTINCT FROM 'Unknown' AND fsm IS DISTINCT FROM 'Unknown' ORDER BY ALL""",
        )
    )
    return (table,)


@app.cell
def _(math):
    def gaps(rows):
        """Points that children eligible for free school meals are behind the others, by ethnic group, with the
        interval that follows from those of both percentages (Zou and Donner 2008)."""
        at = {(row["ethnic_group"], row["fsm_eligibility"]): row for row in rows if row["percent"] is not None}
        for group in dict.fromkeys(group for group, _ in at):
            eligible = at.get((group, "Eligible for free school meals"))
            others = at.get((group, "Not eligible for free school meals"))
            if eligible and others:
                gap = others["percent"] - eligible["percent"]
                below = math.hypot(others["percent"] - others["lower"], eligible["upper"] - eligible["percent"])
                above = math.hypot(others["upper"] - others["percent"], eligible["percent"] - eligible["lower"])
                yield {"ethnic_group": group, "percent": gap, "lower": gap - below, "upper": gap + above}

    return (gaps,)


@app.cell(hide_code=True)
def _(io, mo, plt):
    BLUE, ORANGE = "#1d70b8", "#b35900"  # both with a contrast of at least 4.5 to 1 with white; shapes differ too

    def picture(title, axis, label, **drawn):
        """By name, rows with their intervals, beside each other; rows that have no figure are left out."""
        looks = {"Synthetic children": (ORANGE, "D", "white"), "Release": (BLUE, "o", BLUE)}
        names = list(dict.fromkeys(label(row) for rows in drawn.values() for row in rows))
        figure, axes = plt.subplots(figsize=(9, 1.4 + 0.45 * len(names)))
        for number, (name, rows) in enumerate(drawn.items()):
            colour, marker, inside = looks[name.replace("_", " ")]
            axes.plot([], [], marker, color=colour, markerfacecolor=inside, label=name.replace("_", " "))
            for row in rows:
                if row["percent"] is not None:
                    height = len(names) - names.index(label(row)) + 0.28 * ((len(drawn) - 1) / 2 - number)
                    fill = "white" if row.get("flag") == "u" else inside
                    axes.plot([row["lower"], row["upper"]], [height, height], color=colour, linewidth=2)
                    axes.plot(row["percent"], height, marker, color=colour, markerfacecolor=fill)
        axes.set_yticks([len(names) - number for number in range(len(names))], names)
        axes.tick_params(axis="y", length=0)
        axes.grid(axis="x", color="#e0e0e0", linewidth=0.8)
        axes.set_axisbelow(True)
        axes.set_xlabel(axis)
        axes.legend(frameon=False, loc="upper center", bbox_to_anchor=(0.4, 1.12 + 0.3 / len(names)), ncols=2)
        image = io.BytesIO()
        figure.savefig(image, format="png", dpi=160, bbox_inches="tight")
        plt.close(figure)
        return mo.vstack([mo.md(f"### {title}"), mo.image(image.getvalue(), alt=title, width="100%")])

    def of_row(row):
        return f"{row['ethnic_group']}, {row['fsm_eligibility'].removesuffix(' for free school meals').lower()}"

    GAP = "Points that children eligible for free school meals are behind the others"
    return GAP, of_row, picture


@app.cell(hide_code=True)
def _(GAP, about, gaps, mo, picture, table):
    off = max((each["ninetieth"] for each in about["held_out"]), default=100.0)
    guessed = [row | {"lower": max(row["percent"] - off, 0), "upper": min(row["percent"] + off, 100)} for row in table]
    by_group = [row for row in gaps(guessed) if row["ethnic_group"] != "Total"]
    mo.stop(not by_group, mo.md("These synthetic children are too few: no group has children with and without meals."))
    least, most = (round(pick(row["percent"] for row in by_group)) for pick in (min, max))
    mo.vstack(
        [
            mo.md("It runs, and this is what the answer will look like:"),
            mo.ui.table(table, selection=None, page_size=25),
            picture(
                f"Of synthetic children, gaps of {least} to {most} points: a guess, and no finding",
                GAP,
                lambda row: row["ethnic_group"],
                Synthetic_children=list(gaps(guessed)),
            ),
        ]
    )
    return guessed, off


@app.cell(hide_code=True)
def _(about, mo, off):
    tried = [
        {
            "held out": " × ".join(name for name in each["attributes"] if name != "gld"),
            "percentages": each["compared"],
            "half are off by less than": round(each["median"], 1),
            "one in ten by more than": round(each["ninetieth"], 1),
        }
        for each in about["held_out"]
    ]
    mo.vstack(
        [
            mo.md(
                f"""
                ## 2. Why that is no finding

                Ethnic group, free school meals and a good level of development were measured two by two. How the gap
                differs between groups is what the three together tell, and the rows do not know it: their model takes
                as independent what was not measured together. How far off such guesses are was tried by holding
                measured tables out, and `synthetic_children_quality.md` says it: one in ten by more than {off:.1f}
                points, in the worst of them. The lines above reach that far to either side of each percentage. No
                standard error of these rows does.
                """
            ),
            mo.ui.table(tried, selection=None),
        ]
    )
    return


@app.cell(hide_code=True)
def _(Path, mo):
    name = "gld_by_ethnic_group_and_fsm"
    asked = Path(mo.notebook_dir() or ".").parent / "requests" / f"{name}.yaml"
    words = asked.read_text(encoding="utf-8") if asked.is_file() else f"# docs/requests/{name}.yaml"
    mo.md(
        f"""
## 3. Ask for the table

```yaml
{words}
```

Whoever publishes the release answers what it would cost, from public facts and before anything is spent:

    readiness request check {name}.yaml
"""
    )
    return (name,)


@app.cell(hide_code=True)
def _(about, database, dictionaries, mo, name):
    there = database.sql(f"SELECT 1 FROM duckdb_views() WHERE schema_name = 'latest' AND view_name = '{name}'")
    mo.stop(
        not there.fetchall(),
        mo.callout(
            mo.md(f"**Not answered yet**: this database has no table `{name}`. Come back when it has."), kind="info"
        ),
    )
    released = dictionaries(
        database.sql(
            f"""
            SELECT ethnic_group::VARCHAR AS ethnic_group, fsm_eligibility::VARCHAR AS fsm_eligibility,
                   round(children_count_estimate)::BIGINT AS children, gld_children_percent AS percent,
                   gld_children_percent_lower_ci AS lower, gld_children_percent_upper_ci AS upper,
                   gld_children_percent_flag::VARCHAR AS flag
            FROM latest.{name} WHERE is_all_together AND time_period = '{about["cohort"]}'"""
        )
    )
    [request] = dictionaries(database.sql(f"FROM requests WHERE name = '{name}'"))
    mo.vstack(
        [
            mo.md(
                f"""
                ## 4. Read the answer

                Asked by {request["asked_by"]} on {request["asked_on"]}, answered in release {request["first_release"]};
                charged, with what was asked beside it: rho {request["rho"] or "nothing"}. The table is what the
                synthetic one promised, with an interval for each figure: a 95% interval of the noise that protects
                children.
                """
            ),
            mo.ui.table(released, selection=None, page_size=25),
        ]
    )
    return (released,)


@app.cell(hide_code=True)
def _(GAP, gaps, guessed, mo, of_row, picture, released):
    detailed = [row for row in released if "Total" not in (row["ethnic_group"], row["fsm_eligibility"])]
    told = {of_row(row): row for row in detailed if row["percent"] is not None}
    guesses = [row for row in guessed if of_row(row) in told]
    mo.stop(
        not guesses, mo.md("Every percentage at full detail is withheld: there are too few children for the noise.")
    )
    distance = {of_row(row): abs(row["percent"] - told[of_row(row)]["percent"]) for row in guesses}
    furthest = max(distance, key=distance.get)
    inside = sum(told[of_row(row)]["lower"] <= row["percent"] <= told[of_row(row)]["upper"] for row in guesses)
    found = {row["ethnic_group"]: row for row in gaps(released)}
    whole = found.pop("Total", None)
    apart = {
        side: [group for group, row in found.items() if whole and is_apart(row)]
        for side, is_apart in (
            ("narrower", lambda row: row["upper"] < whole["percent"]),
            ("wider", lambda row: row["lower"] > whole["percent"]),
        )
    }
    says = "; ".join(f"{side} for {', '.join(groups)}" for side, groups in apart.items() if groups)
    mo.vstack(
        [
            picture(
                f"{inside} of {len(guesses)} guesses lie in the release's intervals; the furthest is"
                f" {distance[furthest]:.0f} points off ({furthest})",
                "Good level of development, %",
                of_row,
                Synthetic_children=guesses,
                Release=detailed,
            ),
            mo.md(
                "A hollow circle is flagged as unreliable. The same function as on synthetic children, on the released"
                " table:"
            ),
            picture(
                f"Than among all children the gap is {says}"
                if says
                else "No gap differs from that of all by more than noise",
                GAP,
                lambda row: row["ethnic_group"],
                Synthetic_children=list(gaps(guessed)),
                Release=list(gaps(released)),
            ),
            mo.md(
                "This is what was for these children, give or take the noise. Whether it would be so for children like"
                " these counts chance as well, the more the smaller a group: `docs/analyst-database.md` has how."
            ),
        ]
    )
    return


if __name__ == "__main__":
    app.run()
