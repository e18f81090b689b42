"""The tables of the schema `dimension`: their columns, keys and comments. `dimensions` fills them."""

from __future__ import annotations

from ndl_export.analyst_db.categories import category_type
from ndl_export.analyst_db.ddl import Field, TableShape
from ndl_export.analyst_db.facts import FLAG_TYPE, LEVEL_TYPE
from ndl_export.tables.dimensions import BREAKDOWN_FILTER, TOPIC_FILTER
from ndl_export.tables.geography import ALL_TOGETHER

POSITION = Field("position", "INTEGER NOT NULL", "Order of the categories")
ADDS_UP = Field("adds_up", "VARCHAR[]", "Categories of the attribute that it adds up; empty for all of them")
ATTRIBUTE = Field("attribute", "VARCHAR", "Attribute of the table definitions that the category is of")


AREA = TableShape(
    "dimension.area",
    "Every area that a release has rows for. Joins to area_code of every table",
    (
        Field("area_code", "VARCHAR", f"Official code (ONS, nine characters); {ALL_TOGETHER!r} where it has none"),
        Field("area_name", "VARCHAR NOT NULL", "Name, as in the Department for Education's tables"),
        Field("geographic_level", f"{LEVEL_TYPE} NOT NULL", "Kind of area"),
        Field("is_all_together", "BOOLEAN NOT NULL", "Whether it is all councils of a release together"),
        Field("council", "VARCHAR", "Folder name of the council, as in releases.release; councils only"),
        Field("old_la_code", "VARCHAR", "Three-digit code of the Department for Education; councils only"),
        Field("region_code", "VARCHAR", "Region that the council lies in"),
        Field("region_name", "VARCHAR", "Name of that region"),
        Field("english_devolved_area_code", "VARCHAR", "Devolved area that the council lies in, where it does"),
        Field("english_devolved_area_name", "VARCHAR", "Name of that devolved area"),
    ),
    ("area_code",),
)
AREA_MEMBER = TableShape(
    "dimension.area_member",
    "Which councils the figures of an area add up, by release, cohort and family of tables: a council that had not sent"
    " what a family counts is not in its sums",
    (
        Field("release_version", "VARCHAR", "Version of the release; see releases.release"),
        Field("time_period", "VARCHAR", "The cohort; see dimension.cohort"),
        Field("family", "VARCHAR", "Family of tables; see dimension.published_table"),
        Field("area_code", "VARCHAR", "The area; see dimension.area"),
        Field("council_code", "VARCHAR", "Code of a council in it; see dimension.area"),
    ),
    ("release_version", "time_period", "family", "area_code", "council_code"),
)
COHORT = TableShape(
    "dimension.cohort",
    "Cohorts of children, by the academic year in which they end Reception. Joins to time_period of every table",
    (
        Field("time_period", "VARCHAR", "The academic year as the tables write it: 202425"),
        Field("label", "VARCHAR NOT NULL", "The academic year as printed: 2024/25"),
        Field("born_from", "DATE NOT NULL", "First date of birth of the cohort"),
        Field("born_to", "DATE NOT NULL", "Last date of birth of the cohort"),
    ),
    ("time_period",),
)
BREAK = TableShape(
    "dimension.series_break",
    "Breaks in the time series: what changed its meaning, and with which cohort. Rows whose figures depend on it have"
    " series_break = 'b' in the first cohort of a release from then on; so have rows of all councils together where"
    " they are other councils than before",
    (
        Field("time_period", "VARCHAR", "The first cohort that is recorded in the new way; see dimension.cohort"),
        Field("name", "VARCHAR", "Short name"),
        Field("what", "VARCHAR NOT NULL", "What changed"),
        Field("attributes", "VARCHAR[] NOT NULL", "Attributes of a child that it concerns, as in the noise plans"),
        Field("councils", "VARCHAR[] NOT NULL", "Councils that it concerns, by folder name; empty where it is all"),
        Field("source", "VARCHAR NOT NULL", "Where to read about it"),
    ),
    ("time_period", "name"),
)
TABLE = TableShape(
    "dimension.published_table",
    "The published tables, which stand in the schemas releases and latest",
    (
        Field("table_name", "VARCHAR", "Name in both schemas, and of the files in the bundle"),
        Field("title", "VARCHAR NOT NULL", "Title"),
        Field("family", "VARCHAR NOT NULL", "Family: tables over one population, measured together and consistent"),
        Field("population", "VARCHAR NOT NULL", "Whom its figures are about"),
        Field("description", "VARCHAR NOT NULL", "What it says"),
        Field(
            "counted_source", "VARCHAR NOT NULL", "Source whose rows are counted; a council without it has no figures"
        ),
        Field("filters", "VARCHAR[] NOT NULL", "Columns that say which children or responses a row is about"),
    ),
    ("table_name",),
)
MEASURE = TableShape(
    "dimension.measure",
    "The figures of each table. Each has its interval in <measure>_lower_ci and _upper_ci, and a flag in"
    " <measure>_flag",
    (
        Field("table_name", "VARCHAR", "Table; see dimension.published_table"),
        Field("measure", "VARCHAR", "Name of its column"),
        Field("label", "VARCHAR NOT NULL", "Label"),
        Field("kind", "VARCHAR NOT NULL", "count, percent, average or difference"),
        Field("unit", "VARCHAR NOT NULL", "% for percentages, pp for percentage points, else empty"),
        Field("decimals", "INTEGER NOT NULL", "Decimals that the figure is rounded to"),
        Field("description", "VARCHAR NOT NULL", "What it is"),
    ),
    ("table_name", "measure"),
)
FLAG = TableShape(
    "dimension.flag",
    "What the _flag columns say of a figure",
    (
        Field("flag", FLAG_TYPE, "The flag"),
        Field("meaning", "VARCHAR NOT NULL", "What it means"),
        Field("is_shown", "BOOLEAN NOT NULL", "Whether the figure is given"),
        Field("is_usable", "BOOLEAN NOT NULL", "Whether the figure can be used without more ado"),
        Field("in_csv", "VARCHAR", "The word for it in the CSV files; empty where they have a symbol in every column"),
    ),
    ("flag",),
)
BREAKDOWN = TableShape(
    "dimension.breakdown",
    "Breakdown topics and their categories, in order. Joins to breakdown_topic and breakdown",
    (
        Field(TOPIC_FILTER.name, category_type(TOPIC_FILTER.name), TOPIC_FILTER.description),
        Field(BREAKDOWN_FILTER.name, category_type(BREAKDOWN_FILTER.name), BREAKDOWN_FILTER.description),
        POSITION,
        ATTRIBUTE,
        ADDS_UP,
        Field("tables", "VARCHAR[] NOT NULL", "Tables that have it"),
    ),
    (TOPIC_FILTER.name, BREAKDOWN_FILTER.name),
)
GOAL = TableShape(
    "dimension.early_learning_goal",
    "The 17 early learning goals, in the order of the EYFS Profile",
    (
        Field("early_learning_goal", category_type("early_learning_goal"), "The goal"),
        Field("code", "VARCHAR NOT NULL", "Its code in the EYFS Profile return"),
        Field("area_of_learning", "VARCHAR NOT NULL", "Area of learning that it belongs to"),
        Field("counts_towards_gld", "BOOLEAN NOT NULL", "Whether a good level of development asks for it"),
        POSITION,
    ),
    ("early_learning_goal",),
)
DOMAIN = TableShape(
    "dimension.asq3_domain",
    "Domains of the ASQ-3 questionnaire",
    (
        Field("asq3_domain", category_type("asq3_domain"), "The domain, or all five together"),
        Field(
            "code", "VARCHAR NOT NULL", "Column of its score in the health visitors' extract; of no score for all five"
        ),
        POSITION,
    ),
    ("asq3_domain",),
)
CUT_OFF = TableShape(
    "dimension.asq3_cut_off",
    "Cut-off scores of ASQ-3: a score below it is below the cut-off",
    (
        Field("asq3_domain", category_type("asq3_domain"), "The domain"),
        Field("questionnaire_months", "INTEGER", "Age of the questionnaire, in months"),
        Field("cut_off", "DOUBLE NOT NULL", "The score, of 0 to 60"),
    ),
    ("asq3_domain", "questionnaire_months"),
)
QUESTION = TableShape(
    "dimension.question",
    "Questions of the survey of parents",
    (
        Field("question", category_type("question"), "The question as the tables name it"),
        Field("code", "VARCHAR NOT NULL", "Its column in the survey's extract"),
        Field("wording", "VARCHAR NOT NULL", "The question as it was asked"),
        POSITION,
    ),
    ("question",),
)
ANSWER = TableShape(
    "dimension.answer",
    "Answers to each question, in the order of the questionnaire",
    (
        Field("question", category_type("question"), "The question"),
        Field("answer", category_type("answer"), "The answer"),
        Field("code", "VARCHAR", "Its code in the survey's extract; empty where no answer was given"),
        POSITION,
    ),
    ("question", "answer"),
)
SEEN_AND_CONCERN = TableShape(
    "dimension.seen_and_concern",
    "Which services can have raised a concern, by who has seen the child; others are not applicable in joined_dots",
    (
        Field("seen_by", category_type("seen_by"), "Services that have seen the child"),
        Field("concern_by", category_type("concern_by"), "Services that raised a concern"),
        Field("can_occur", "BOOLEAN NOT NULL", "Whether the two can go together"),
    ),
    ("seen_by", "concern_by"),
)
CHARACTERISTIC = TableShape(
    "dimension.characteristic",
    "What the groups of gld_by_group differ in, and where their figures come from",
    (
        Field("characteristic", "VARCHAR", "Name, as the macros take it"),
        POSITION,
        Field("attribute", "VARCHAR NOT NULL", "Attribute of the table definitions; the macros take it too"),
        Field("table_name", "VARCHAR NOT NULL", "Table that the figures come from"),
        Field("column_name", "VARCHAR NOT NULL", "Column of that table with the groups"),
    ),
    ("characteristic",),
)
CHILD_GROUP = TableShape(
    "dimension.child_group",
    "Groups of children in gld_by_group, in order",
    (
        Field("characteristic", "VARCHAR", "What the groups differ in; see dimension.characteristic"),
        Field("child_group", "VARCHAR", "The group"),
        Field("group_key", "VARCHAR NOT NULL UNIQUE", "Name that no other group has, as the macros take it"),
        POSITION,
    ),
    ("characteristic", "child_group"),
)
COMPARISON = TableShape(
    "dimension.comparison",
    "The two groups of each comparison in gld_differences: the figure is the first less the second",
    (
        Field("comparison", category_type("comparison"), "The comparison"),
        Field(TOPIC_FILTER.name, category_type(TOPIC_FILTER.name), "What the groups differ in"),
        Field("first_group", "VARCHAR NOT NULL", "Group that is compared, as group_key of dimension.child_group"),
        Field(
            "second_group", "VARCHAR", "Group that it is compared with; empty: the same group in all councils together"
        ),
    ),
    ("comparison",),
)
