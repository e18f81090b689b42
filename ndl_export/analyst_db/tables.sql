-- The tables of the analyst database, but for those that follow from the definitions: one for each published table
-- (`releases`) and one for each filter that has nothing to add to its categories (`dimension`). What is said above a
-- table or a column is its comment in the database. The types dimension.*_type are made before.

-- The releases in this database, oldest first
CREATE TABLE releases.release (
    -- Version of the release: year, month, number within the month
    release_version VARCHAR,
    -- Order of the releases: 1 is the oldest
    position INTEGER NOT NULL,
    -- Day of publication
    published_on DATE NOT NULL,
    -- What stands above everything that is said of it: that its data are synthetic, for instance
    notice VARCHAR,
    -- Academic years that the release is about; see dimension.cohort
    cohorts VARCHAR[] NOT NULL,
    -- Councils that take part, by folder name; see dimension.area
    councils VARCHAR[] NOT NULL,
    -- Sources that councils which take part had not sent when the release was measured
    missing VARCHAR[] NOT NULL,
    -- Privacy loss of the release, zero-concentrated differential privacy
    rho DOUBLE,
    -- Privacy loss of the release, epsilon at delta
    epsilon DOUBLE,
    -- Delta at which epsilon is stated
    delta DOUBLE,
    -- Bound on the correlation of the noise in the rates of two councils, for the interval of their difference
    council_noise_correlation DOUBLE NOT NULL,
    -- Day on which the release was withdrawn; empty where it stands
    withdrawn_on DATE,
    -- Why it was withdrawn
    withdrawn_because VARCHAR,
    PRIMARY KEY (release_version)
);

-- What the noise in the two counts of gld_headline has in common, between rows of one breakdown topic: what an interval of
-- a sum needs, and what gld_sum reckons with. The same for every council of a region. Rows of councils in different
-- regions share no noise
CREATE TABLE releases.noise_covariance (
    -- Version of the release; see releases.release
    release_version VARCHAR,
    -- The cohort; see dimension.cohort
    time_period VARCHAR,
    -- Region whose councils it is about; an empty text where all councils are measured as one group
    region_code VARCHAR,
    -- The characteristic that both rows break down by
    breakdown_topic dimension.breakdown_topic_type,
    -- The level of the breakdown topic
    breakdown dimension.breakdown_type,
    -- Sex
    sex dimension.sex_type,
    -- The level of the other row
    other_breakdown dimension.breakdown_type,
    -- Sex of the other row
    other_sex dimension.sex_type,
    -- Covariance of children_count_estimate with that of the other row, of one council
    same_children DOUBLE NOT NULL,
    -- Covariance of gld_children_count_estimate with children_count_estimate of the other row, of one council
    same_gld_children DOUBLE NOT NULL,
    -- Covariance of gld_children_count_estimate with that of the other row, of one council
    same_gld DOUBLE NOT NULL,
    -- As same_children, where the other row is of another council of the region
    apart_children DOUBLE NOT NULL,
    -- As same_gld_children, where the other row is of another council of the region
    apart_gld_children DOUBLE NOT NULL,
    -- As same_gld, where the other row is of another council of the region
    apart_gld DOUBLE NOT NULL,
    PRIMARY KEY (release_version, time_period, region_code, breakdown_topic, breakdown, sex, other_breakdown, other_sex)
);

-- The tables that somebody asked for and some release has, beside those of every release: in releases and latest by their
-- names. Of releases that have one with other columns there are no rows. In words: FROM requests
CREATE TABLE releases.requests (
    -- Name of the table; see dimension.published_table
    table_name VARCHAR,
    -- Title
    title VARCHAR NOT NULL,
    -- Family of tables that it was added to
    family VARCHAR NOT NULL,
    -- Who asked for it
    asked_by VARCHAR NOT NULL,
    -- What for
    purpose VARCHAR NOT NULL,
    -- The day on which it was asked for
    asked_on DATE NOT NULL,
    -- The first release that had it
    first_release VARCHAR NOT NULL,
    -- Cohorts that it has rows of, in the newest release that has it; see dimension.cohort
    cohorts VARCHAR[] NOT NULL,
    -- Releases in this database that have it, oldest first; see releases.release
    release_versions VARCHAR[] NOT NULL,
    PRIMARY KEY (table_name)
);

-- What was charged to measure tables on request, once for all that were measured together. A table that follows from what
-- had been measured before has no charge
CREATE TABLE releases.request_charges (
    -- The cohort; see dimension.cohort
    time_period VARCHAR,
    -- Family of tables
    family VARCHAR,
    -- The release that it was charged to
    release_version VARCHAR,
    -- The tables that were measured; see releases.requests
    tables VARCHAR[] NOT NULL,
    -- Privacy loss that was charged, zero-concentrated differential privacy
    rho DOUBLE NOT NULL,
    PRIMARY KEY (time_period, family, release_version)
);

-- Every area that a release has rows for. Joins to area_code of every table
CREATE TABLE dimension.area (
    -- Official code (ONS, nine characters); 'Pilot councils' where it has none
    area_code VARCHAR,
    -- Name, as in the Department for Education's tables
    area_name VARCHAR NOT NULL,
    -- Kind of area
    geographic_level dimension.geographic_level_type NOT NULL,
    -- Whether it is all councils of a release together
    is_all_together BOOLEAN NOT NULL,
    -- Folder name of the council, as in releases.release; councils only
    council VARCHAR,
    -- Three-digit code of the Department for Education; councils only
    old_la_code VARCHAR,
    -- Region that the council lies in
    region_code VARCHAR,
    -- Name of that region
    region_name VARCHAR,
    -- Devolved area that the council lies in, where it does
    english_devolved_area_code VARCHAR,
    -- Name of that devolved area
    english_devolved_area_name VARCHAR,
    PRIMARY KEY (area_code)
);

-- Which councils the figures of an area add up, by release, cohort and family of tables: a council that had not sent
-- what a family counts is not in its sums
CREATE TABLE dimension.area_member (
    -- Version of the release; see releases.release
    release_version VARCHAR,
    -- The cohort; see dimension.cohort
    time_period VARCHAR,
    -- Family of tables; see dimension.published_table
    family VARCHAR,
    -- The area; see dimension.area
    area_code VARCHAR,
    -- Code of a council in it; see dimension.area
    council_code VARCHAR,
    PRIMARY KEY (release_version, time_period, family, area_code, council_code)
);

-- Cohorts of children, by the academic year in which they end Reception. Joins to time_period of every table
CREATE TABLE dimension.cohort (
    -- The academic year as the tables write it: 202425
    time_period VARCHAR,
    -- The academic year as printed: 2024/25
    label VARCHAR NOT NULL,
    -- First date of birth of the cohort
    born_from DATE NOT NULL,
    -- Last date of birth of the cohort
    born_to DATE NOT NULL,
    PRIMARY KEY (time_period)
);

-- Breaks in the time series: what changed its meaning, and with which cohort. Rows whose figures depend on it have
-- series_break = 'b' in the first cohort of a release from then on; so have rows of all councils together where they
-- are other councils than before
CREATE TABLE dimension.series_break (
    -- The first cohort that is recorded in the new way; see dimension.cohort
    time_period VARCHAR,
    -- Short name
    name VARCHAR,
    -- What changed, as far as it is known
    what VARCHAR NOT NULL,
    -- What is not known of it; empty where nothing is to be said
    not_known VARCHAR,
    -- Attributes of a child that it concerns, as in the noise plans
    attributes VARCHAR[] NOT NULL,
    -- Councils that it concerns, by folder name; empty where it is all
    councils VARCHAR[] NOT NULL,
    -- Where to read about it
    source VARCHAR NOT NULL,
    PRIMARY KEY (time_period, name)
);

-- The published tables, which stand in the schemas releases and latest
CREATE TABLE dimension.published_table (
    -- Name in both schemas, and of the files in the bundle
    table_name VARCHAR,
    -- Title
    title VARCHAR NOT NULL,
    -- Family: tables over one population, measured together and consistent
    family VARCHAR NOT NULL,
    -- Whom its figures are about
    population VARCHAR NOT NULL,
    -- What it says
    description VARCHAR NOT NULL,
    -- Source whose rows are counted; a council without it has no figures
    counted_source VARCHAR NOT NULL,
    -- Columns that say which children or responses a row is about
    filters VARCHAR[] NOT NULL,
    PRIMARY KEY (table_name)
);

-- The figures of each table. Each has its interval in <measure>_lower_ci and _upper_ci, and a flag in <measure>_flag
CREATE TABLE dimension.measure (
    -- Table; see dimension.published_table
    table_name VARCHAR,
    -- Name of its column
    measure VARCHAR,
    -- Label
    label VARCHAR NOT NULL,
    -- count, percent, average or difference
    kind VARCHAR NOT NULL,
    -- % for percentages, pp for percentage points, else empty
    unit VARCHAR NOT NULL,
    -- Decimals that the figure is rounded to, unless decimals_shown has fewer for its flag
    decimals INTEGER NOT NULL,
    -- What it is
    description VARCHAR NOT NULL,
    PRIMARY KEY (table_name, measure)
);

-- Categories of the columns of tables on request, in order. Joins to the column that filter names
CREATE TABLE dimension.requested_category (
    -- Table; see releases.requests
    table_name VARCHAR,
    -- Column of the table
    filter VARCHAR,
    -- The category
    category VARCHAR,
    -- Order of the categories
    position INTEGER NOT NULL,
    -- Attribute of the table definitions that the category is of
    attribute VARCHAR NOT NULL,
    -- Categories of the attribute that it adds up; empty for all of them
    adds_up VARCHAR[],
    PRIMARY KEY (table_name, filter, category)
);

-- What the symbols mean: those of the _flag columns and of series_break, which are NULL where there is nothing to say.
-- Join with LEFT JOIN, and compare with IS DISTINCT FROM, so that figures without a flag stay
CREATE TABLE dimension.flag (
    -- The symbol, the same in Parquet, CSV, database, pages and documents
    flag dimension.flag_type,
    -- What it means
    meaning VARCHAR NOT NULL,
    -- The same in a word or two
    in_short VARCHAR NOT NULL,
    -- Columns that it stands in: those that end in _flag, or series_break
    stands_in VARCHAR NOT NULL,
    -- Whether the figure is given
    is_shown BOOLEAN NOT NULL,
    PRIMARY KEY (flag)
);

-- Breakdown topics and their categories, in order. Joins to breakdown_topic and breakdown
CREATE TABLE dimension.breakdown (
    -- The characteristic that the row breaks down by
    breakdown_topic dimension.breakdown_topic_type,
    -- The level of the breakdown topic
    breakdown dimension.breakdown_type,
    -- Order of the categories
    position INTEGER NOT NULL,
    -- Attribute of the table definitions that the category is of
    attribute VARCHAR,
    -- Categories of the attribute that it adds up; empty for all of them
    adds_up VARCHAR[],
    -- Tables that have it
    tables VARCHAR[] NOT NULL,
    PRIMARY KEY (breakdown_topic, breakdown)
);

-- The 17 early learning goals, in the order of the EYFS Profile
CREATE TABLE dimension.early_learning_goal (
    -- The goal
    early_learning_goal dimension.early_learning_goal_type,
    -- Its code in the EYFS Profile return
    code VARCHAR NOT NULL,
    -- Area of learning that it belongs to
    area_of_learning VARCHAR NOT NULL,
    -- Whether a good level of development asks for it
    counts_towards_gld BOOLEAN NOT NULL,
    -- Order of the categories
    position INTEGER NOT NULL,
    PRIMARY KEY (early_learning_goal)
);

-- Domains of the ASQ-3 questionnaire
CREATE TABLE dimension.asq3_domain (
    -- The domain, or all five together
    asq3_domain dimension.asq3_domain_type,
    -- Column of its score in the health visitors' extract; of no score for all five
    code VARCHAR NOT NULL,
    -- Order of the categories
    position INTEGER NOT NULL,
    PRIMARY KEY (asq3_domain)
);

-- Cut-off scores of ASQ-3: a score below it is below the cut-off
CREATE TABLE dimension.asq3_cut_off (
    -- The domain
    asq3_domain dimension.asq3_domain_type,
    -- Age of the questionnaire, in months
    questionnaire_months INTEGER,
    -- The score, of 0 to 60
    cut_off DOUBLE NOT NULL,
    PRIMARY KEY (asq3_domain, questionnaire_months)
);

-- Questions of the survey of parents
CREATE TABLE dimension.question (
    -- The question as the tables name it
    question dimension.question_type,
    -- Its column in the survey's extract
    code VARCHAR NOT NULL,
    -- The question as it was asked
    wording VARCHAR NOT NULL,
    -- Order of the categories
    position INTEGER NOT NULL,
    PRIMARY KEY (question)
);

-- Answers to each question, in the order of the questionnaire
CREATE TABLE dimension.answer (
    -- The question
    question dimension.question_type,
    -- The answer
    answer dimension.answer_type,
    -- Its code in the survey's extract; empty where no answer was given
    code VARCHAR,
    -- Order of the categories
    position INTEGER NOT NULL,
    PRIMARY KEY (question, answer)
);

-- Which services can have raised a concern, by who has seen the child; others are not applicable in joined_dots
CREATE TABLE dimension.seen_and_concern (
    -- Services that have seen the child
    seen_by dimension.seen_by_type,
    -- Services that raised a concern
    concern_by dimension.concern_by_type,
    -- Whether the two can go together
    can_occur BOOLEAN NOT NULL,
    PRIMARY KEY (seen_by, concern_by)
);

-- Targets for a good level of development: of every area, or of one; gld_to_target holds the figures against them
CREATE TABLE dimension.target (
    -- What the target is called
    target VARCHAR,
    -- Code of its area; an empty text for one that is every area's
    area_code VARCHAR,
    -- Percentage of children to be at a good level of development
    target_percent DOUBLE NOT NULL,
    -- Year in which the academic year of the target ends
    target_year INTEGER NOT NULL,
    -- Who set it, where
    source VARCHAR NOT NULL,
    PRIMARY KEY (target, area_code)
);

-- What the groups of gld_by_group differ in, and where their figures come from
CREATE TABLE dimension.characteristic (
    -- Name, as the macros take it
    characteristic VARCHAR,
    -- Order of the categories
    position INTEGER NOT NULL,
    -- Attribute of the table definitions; the macros take it too
    attribute VARCHAR NOT NULL,
    -- Table that the figures come from
    table_name VARCHAR NOT NULL,
    -- Column of that table with the groups
    column_name VARCHAR NOT NULL,
    PRIMARY KEY (characteristic)
);

-- Groups of children in gld_by_group, in order
CREATE TABLE dimension.child_group (
    -- What the groups differ in; see dimension.characteristic
    characteristic VARCHAR,
    -- The group
    child_group VARCHAR,
    -- Name that no other group has, as the macros take it
    group_key VARCHAR NOT NULL UNIQUE,
    -- Order of the categories
    position INTEGER NOT NULL,
    PRIMARY KEY (characteristic, child_group)
);

-- The two groups of each comparison in gld_differences: the figure is the first less the second
CREATE TABLE dimension.comparison (
    -- The comparison
    comparison dimension.comparison_type,
    -- What the groups differ in
    breakdown_topic dimension.breakdown_topic_type,
    -- Group that is compared, as group_key of dimension.child_group
    first_group VARCHAR NOT NULL,
    -- Group that it is compared with; empty: the same group in all councils together
    second_group VARCHAR,
    PRIMARY KEY (comparison)
);

-- What categories are called in the short views, where it is not what the tables say. What child_group has there, the
-- macros take as well
CREATE TABLE dimension.short_name (
    -- Label of the filter, or name of the characteristic
    filter_label VARCHAR,
    -- The category
    category VARCHAR,
    -- What it is called where there is little room
    short_name VARCHAR NOT NULL,
    PRIMARY KEY (filter_label, category)
);

-- What the macros understand: every name of an area, cohort, characteristic or group of children
CREATE TABLE dimension.name (
    -- area, cohort, characteristic or group
    kind VARCHAR,
    -- The name; letter case and punctuation do not matter
    called VARCHAR,
    -- area_code, time_period, characteristic or group_key that it stands for
    meaning VARCHAR NOT NULL,
    -- What it is called in the tables
    shown VARCHAR NOT NULL,
    PRIMARY KEY (kind, called)
);

-- Percentages at a good level of development that the Department for Education has published of the cohorts in this
-- database, by academic year as ours: exact counts of all children assessed, without noise. For England and for
-- councils, by as many characteristics as are held. Ours cover the children in the extracts
CREATE TABLE official.gld (
    -- Academic year of the assessment; see dimension.cohort
    time_period VARCHAR,
    -- Kind of area
    geographic_level VARCHAR NOT NULL,
    -- Official code of the area; see dimension.area
    area_code VARCHAR,
    -- Name of the area
    area_name VARCHAR NOT NULL,
    -- The characteristic that the row breaks down by
    breakdown_topic VARCHAR,
    -- The level of the breakdown topic, in the words of our tables
    breakdown VARCHAR,
    -- Sex
    sex VARCHAR,
    -- Percentage of children with a good level of development
    gld_children_percent DOUBLE NOT NULL,
    -- Who published it, and where
    source VARCHAR NOT NULL,
    PRIMARY KEY (time_period, area_code, breakdown_topic, breakdown, sex)
);

-- Percentages on the two-year review that the Office for Health Improvement and Disparities (OHID) has published, exact
-- counts without noise, by the financial year in which children turned 2½ and not by cohort: eleven in twelve are of
-- the cohort in time_period. Not defined as ours: ours count every child reviewed, also those without a score; theirs
-- those with a score of the domain, so theirs are higher. Councils' own shares at or above the expected level are not
-- held here: Fingertips has them (C08a, indicator 93436)
CREATE TABLE official.asq3 (
    -- The cohort that most of the children belong to; see dimension.cohort
    time_period VARCHAR,
    -- Financial year, April to March, in which the children turned 2½: 202223
    financial_year VARCHAR NOT NULL,
    -- Kind of area; councils by residence
    geographic_level VARCHAR NOT NULL,
    -- Official code of the area; see dimension.area
    area_code VARCHAR,
    -- Name of the area
    area_name VARCHAR NOT NULL,
    -- Reviews that used ASQ-3, as a percentage of the reviews done (coverage); or children at or above the expected
    -- level, as a percentage of the reviews with a score (C08a where all five domains, C08b to C08f)
    measure VARCHAR,
    -- The domain, or all five together; an empty text where the measure has none. See dimension.asq3_domain
    asq3_domain VARCHAR,
    -- The percentage
    percent DOUBLE NOT NULL,
    -- Who published it, and where
    source VARCHAR NOT NULL,
    PRIMARY KEY (time_period, area_code, measure, asq3_domain)
);

-- Where to begin, in ten steps
CREATE TABLE help.start (
    -- Order of the steps
    step INTEGER,
    -- What there is to know
    what VARCHAR NOT NULL,
    -- A query that shows it, ready to run
    try_this VARCHAR NOT NULL,
    PRIMARY KEY (step)
);

-- What this file was made from: it is made again when this changes
CREATE TABLE help.made_from (
    -- SHA-256 over checksums of the bundles, withdrawals and the program that made the file
    content_sha256 VARCHAR,
    PRIMARY KEY (content_sha256)
);

-- Questions and the queries that answer them
CREATE TABLE help.worked_queries (
    -- Short name
    title VARCHAR,
    -- What the query answers
    question VARCHAR NOT NULL,
    -- The query, ready to run
    sql VARCHAR NOT NULL,
    -- How to read the answer, and what not to make of it
    meaning VARCHAR NOT NULL,
    PRIMARY KEY (title)
);

-- Macros: queries with arguments. Those that give a table first, then those for use within a query
CREATE TABLE help.macros (
    -- Name
    name VARCHAR,
    -- Arguments; those with := can be left out, or given by name
    call VARCHAR NOT NULL,
    -- table or value
    gives VARCHAR NOT NULL,
    -- What it is for
    answers VARCHAR NOT NULL,
    -- How its figures are made
    method VARCHAR NOT NULL,
    -- A call, ready to run
    example VARCHAR NOT NULL,
    PRIMARY KEY (name)
);
