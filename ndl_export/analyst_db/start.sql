-- Where to begin with the analyst database, in ten steps: above each query what it shows. `help.py` reads them.

-- Ask for a council's figure by name. Every figure comes with its 95% interval: what it was for these children, give or
-- take the noise. Quote both.
FROM gld_rate('Leeds', 'FSM eligibility');

-- More questions of this kind, with the arguments each macro takes, and how its figures are made.
SELECT call, answers, example FROM help.macros WHERE gives = 'table';

-- Questions that analysts ask, each with its query and how to read the answer. Copy one and change it.
SELECT title, question, sql, meaning FROM help.worked_queries;

-- The published tables: in the schema latest the newest release, in releases all of them, by release_version;
-- official.gld and official.asq3 have official statistics to compare with, each with its source.
SELECT table_name, title, filters, population FROM dimension.published_table;

-- Every table, view, column and macro has a comment that says what it holds.
SELECT column_name, data_type, comment FROM duckdb_columns() WHERE schema_name = 'latest' AND table_name = 'gld_headline';

-- A row is a total unless a filter says otherwise: set every filter, or totals and their parts come together.
SELECT area_name, gld_children_percent, gld_children_percent_lower_ci, gld_children_percent_upper_ci FROM latest.gld_headline WHERE breakdown = 'Total' AND sex = 'Total';

-- Look at the flag before you use a figure: NULL is fine, anything else has a reason.
SELECT flag, meaning, stands_in, is_shown FROM dimension.flag;

-- Never add up counts as shown: add up the columns that end in _estimate. Whether one figure is ahead of another for
-- children like these is another question, and chance counts too: ask gld_difference, not the two intervals.
FROM gld_difference('Leeds', 'Total', 'Wirral', 'Total');

-- Codes, labels and order of every category, question and area. Columns of categories sort in that order.
SELECT table_name, comment FROM duckdb_tables() WHERE schema_name = 'dimension';

-- What each release is about, who had not sent what, and whether it has been withdrawn and why.
SELECT release_version, cohorts, missing, withdrawn_because FROM releases.release;
