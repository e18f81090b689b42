-- Where to begin with the analyst database, in ten steps: above each query what it shows. `help.py` reads them.

-- What there is: a short view of each published table, and the questions that people come with. Rows are in words and
-- rounded, and fit a terminal. FROM requests says which of the tables somebody asked for, who, and what for.
SHOW TABLES;

-- A council's figures. Every figure comes with its 95% interval: what it was for these children, give or take the noise.
-- Quote both. Where the flag is empty, a figure can be used.
FROM gld_headline WHERE area = 'Leeds';

-- Ask by name, as you would say it: 'st helens', 'H&F', 'E08000035'; 'fsm', 'girls', 'SEND', 'EAL'. A name that is not
-- known is an error that says which are near.
SELECT in_words FROM gld_rate('leeds', 'fsm');

-- How far a council is from the national ambition, in points and in children.
FROM distance_to_target WHERE area = 'Leeds';

-- More questions of this kind, with the arguments each macro takes, and how its figures are made.
SELECT call, answers, example FROM help.macros WHERE gives = 'table';

-- Questions that analysts ask, each with its query and how to read the answer. Copy one and change it.
SELECT title, question, sql, meaning FROM help.worked_queries;

-- Whether one figure is ahead of another for children like these is another question, and chance counts too: ask
-- gld_difference, not the two intervals.
FROM gld_difference('Leeds', 'Total', 'Wirral', 'Total');

-- The wide tables behind, with codes, counts and models: in the schema latest those of the newest release, in releases
-- all of them, by release_version; official.gld and official.asq3 have official statistics, each with its source. A row
-- is a total unless a filter says otherwise: set every filter, or totals and their parts come together. Never add up
-- counts as shown, nor intervals: gld_sum('Leeds + Wirral', 'FSM') adds up any areas and groups, with the interval.
SELECT table_name, title, filters, population FROM dimension.published_table;

-- Every table, view, column and macro has a comment that says what it holds. Codes, labels and order of every category
-- are in the schema dimension; dimension.flag says what stands in a flag.
SELECT column_name, data_type, comment FROM duckdb_columns() WHERE schema_name = 'latest' AND table_name = 'gld_headline';

-- What each release is about, who had not sent what, and whether it has been withdrawn and why.
SELECT release_version, cohorts, missing, withdrawn_because FROM releases.release;
