"""Functions shared by the rivals' scripts: the two files of a set, prepared as a practitioner would."""

import pandas as pd

COLUMNS = ("forename", "surname", "sex", "date_of_birth", "postcode")


def prepare(path: str) -> pd.DataFrame:
    """Return COLUMNS in one case, trimmed, with no spaces in postcodes; placeholders and blanks are missing."""
    frame = pd.read_parquet(path)
    text = {column: frame[column].fillna("").astype(str).str.strip().str.upper() for column in COLUMNS}
    text["postcode"] = text["postcode"].str.replace(" ", "").where(~text["postcode"].str.startswith("ZZ99"), "")
    text["date_of_birth"] = text["date_of_birth"].where(text["date_of_birth"] != "1900-01-01", "")
    return pd.DataFrame({column: values.astype(object).where(values != "", None) for column, values in text.items()})


def list_filled_in_both(left: pd.DataFrame, right: pd.DataFrame) -> list[str]:
    """Return the columns that have values in both files."""
    return [column for column in COLUMNS if left[column].notna().any() and right[column].notna().any()]
