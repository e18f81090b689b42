-- Every column of a relation and its normalised forms, as described in `normalise_sql`. There are far fewer different
-- names and dates than rows, so the forms of each are computed once and the rows look them up. Each step is a separate
-- subquery: macros repeat their argument, so an expression as argument would be copied too often for the planner.
WITH people AS MATERIALIZED (
    SELECT * FROM {relation}
), names AS (
    SELECT DISTINCT 'surname' AS kind, {surname} AS sent FROM people
    UNION ALL SELECT DISTINCT 'forename' AS kind, {forename} AS sent FROM people
), folded_names AS (
    SELECT kind, sent, fold_name(sent) AS folded FROM names
), spaced_names AS (
    SELECT kind, sent, spaced_name(folded) AS spaced FROM folded_names
), real_names AS (
    SELECT kind, sent, real_name(spaced) AS words FROM spaced_names
), parted_names AS MATERIALIZED (
    SELECT kind, sent, replace(words, ' ', '') AS whole, first_word(words) AS front, last_word(words) AS back
      FROM real_names
), surname_forms AS (
    SELECT sent, whole AS n_surname, front AS n_surname_first, back AS n_surname_last,
           sound_code(whole) AS n_surname_sound, left(whole, 2) AS n_surname_start, right(whole, 2) AS n_surname_end,
           name_band(whole, band) AS n_surname_band
      FROM parted_names LEFT JOIN surname_bands ON name = whole
     WHERE kind = 'surname'
), canonical_forenames AS (
    SELECT sent, whole AS n_forename_written, sound_code(whole) AS n_forename_sound, left(whole, 2) AS n_forename_start,
           right(whole, 2) AS n_forename_end, coalesce(fronts.canonical, front) AS n_forename_first,
           coalesce(backs.canonical, back) AS n_forename_last,
           coalesce(wholes.canonical,
                    CASE WHEN front || back = whole
                         THEN coalesce(fronts.canonical, front) || coalesce(backs.canonical, back) END,
                    whole) AS n_forename
      FROM parted_names
      LEFT JOIN given_name_forms AS wholes ON wholes.form = whole
      LEFT JOIN given_name_forms AS fronts ON fronts.form = front
      LEFT JOIN given_name_forms AS backs ON backs.form = back
     WHERE kind = 'forename'
), forename_forms AS (
    -- A given name of several words is three bands rarer than its first word.
    SELECT named.*, name_band(n_forename, coalesce(wholes.band, least(fronts.band + 3, rarest_band())))
             AS n_forename_band
      FROM canonical_forenames AS named
      LEFT JOIN given_name_bands AS wholes ON wholes.name = n_forename
      LEFT JOIN given_name_bands AS fronts ON fronts.name = n_forename_first
), dates AS (
    SELECT sent, birth_date(sent) AS n_dob FROM (SELECT DISTINCT {date_of_birth} AS sent FROM people)
), date_forms AS (
    SELECT *, sorted_date(n_dob) AS n_dob_sorted, day(n_dob)::VARCHAR AS n_dob_day, month(n_dob)::VARCHAR AS n_dob_month
      FROM dates
), coded AS (
    SELECT *, letters_and_digits({postcode}) AS postcode_sent, upn_code({upn}) AS upn_code,
           nhs_code({nhs_number}) AS n_nhs
      FROM people
), coded_postcodes AS (
    SELECT * EXCLUDE (postcode_sent), real_postcode(postcode_sent) AS postcode_code FROM coded
), full_postcodes AS (
    SELECT *, CASE WHEN full_postcode(postcode_code) THEN postcode_code END AS n_postcode_full FROM coded_postcodes
), codes AS (
    SELECT * EXCLUDE (postcode_code, upn_code),
           CASE WHEN NOT outward_alone(postcode_code) THEN postcode_code END AS n_postcode,
           CASE WHEN n_postcode_full IS NOT NULL THEN left(postcode_code, -3)
                WHEN outward_alone(postcode_code) THEN postcode_code ELSE left(postcode_code, 2) END
             AS n_postcode_outward,
           CASE WHEN NOT ends_in_letter(upn_code) THEN upn_code END AS n_upn,
           CASE WHEN ends_in_letter(upn_code) THEN upn_code END AS n_upn_temporary
      FROM full_postcodes
)
SELECT codes.*, surname_forms.* EXCLUDE (sent), forename_forms.* EXCLUDE (sent), date_forms.* EXCLUDE (sent)
  FROM codes
  LEFT JOIN surname_forms ON surname_forms.sent = {surname}
  LEFT JOIN forename_forms ON forename_forms.sent = {forename}
  LEFT JOIN date_forms ON date_forms.sent = {date_of_birth}
