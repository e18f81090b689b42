-- From the marks of the rows of every part to those that are in force. `entries`: place (of the part, in their order),
-- tie, part, row_key, number (in the part), key (of the record, or of what the row says where it names none), content,
-- state. One state of a record a part: what its kept rows say, or that it is gone.
CREATE TABLE states AS
SELECT key, place, any_value(tie) AS tie, bool_or(state = 'deleted') AS gone,
       hash(list_sort(list(DISTINCT content) FILTER (state = 'kept'))) AS said
  FROM entries WHERE state <> 'rejected' GROUP BY key, place;

CREATE TABLE latest AS
SELECT key, max(place) AS place, arg_max(said, place) AS said, arg_max(gone, place) AS gone FROM states GROUP BY key;

-- What a record says last, as the first part has it that says so since anything else was said.
CREATE TABLE counting AS
WITH changed AS (
    SELECT key, max(states.place) AS place FROM states JOIN latest USING (key)
     WHERE states.said <> latest.said OR states.gone GROUP BY key
)
SELECT states.key, min(states.place) AS place, any_value(latest.place) AS last_place
  FROM states JOIN latest USING (key) LEFT JOIN changed USING (key)
 WHERE NOT latest.gone AND states.place > coalesce(changed.place, -1)
 GROUP BY states.key;

CREATE TABLE before AS
SELECT key, place, said, gone, lag(said) OVER earlier AS said_before, lag(gone) OVER earlier AS gone_before
  FROM states WINDOW earlier AS (PARTITION BY key ORDER BY place);
