"""Frequency attacks on a file of tokens by someone without keys, and how many surnames they recover.

The attacker has the tokens, as stored by the pipeline or as sent by a sender, the program, and public knowledge: exact
frequencies of surnames, dates of birth and postcodes. The result is the share of children whose surname is guessed
correctly. The names are more unequal than England's, which favours the attacker. `docs/linkage.md` lists what is left
out.
"""

from dataclasses import dataclass
from importlib import resources

import duckdb
import numpy as np
import pandas as pd
import pyarrow as pa
import pytest

from privacy import pseudonyms
from privacy.keys import KeyRing
from privacy.linkage.assignment import label_components
from privacy.pseudonyms import RARE_SURNAME
from tests.support.linkage import stress

CHILDREN, SURNAMES, GIVEN_NAMES = 60_000, 20_000, 1_500
LIMIT = 0.001
LIMIT_OF_TWO_SERVICES = 0.03
COLUMNS = {"surname", "forename", "date_of_birth", "postcode"}
TOKENS = [token.name for token in pseudonyms.list_token_columns(COLUMNS)]
BANDS_OF = {token.name: 2 ** (pseudonyms.BAND_BITS * len(token.bands)) for token in pseudonyms.TOKENS if token.bands}
"""Number of possible endings of each token with name bands in its last bits."""
FIX_THE_SURNAME = [
    token.name
    for token in pseudonyms.list_token_columns(COLUMNS)
    if any("n_surname" in (last := part.split("THEN")[-1]) and "n_surname_" not in last for part in token.components)
    and "(n_surname)" not in token.components[0]
]
"""Tokens of whole surnames: rows that share one have the same surname."""


def _listed(ending: str) -> list[str]:
    """Return the names of a public list that the tokens treat as common, in the list's order."""
    (file,) = (f for f in resources.files("privacy").joinpath("names").iterdir() if f.name.endswith(ending))
    lines = [line for line in file.read_text(encoding="utf-8").splitlines() if not line.startswith("#")]
    names = [line.split(":")[0] for line in lines] if ending.startswith("given") else " ".join(lines).split()
    return [name for name in dict.fromkeys(names) if name.isalpha()]


def _names(listed: list[str], count: int, rng: np.random.Generator) -> np.ndarray:
    syllables = ["".join(pair).upper() for pair in zip("bcdfghjklmnprst" * 5, "aeiou" * 15, strict=True)]
    made = dict.fromkeys(map("".join, rng.choice(syllables, (2 * count, 4))))
    return np.array(list(dict.fromkeys([*listed, *made]))[:count], object)


def _zipf(count: int, power: float) -> np.ndarray:
    weights = np.arange(1, count + 1) ** -power
    return weights / weights.sum()


SHARES = _zipf(SURNAMES, 0.9)
"""Share of each surname: 5.7% of children have the most common, 58% one of the thousand most common."""


@dataclass(frozen=True)
class Attack:
    """The public list of surnames, most common first, the children, and the tokens of each in their order: as sent
    (first keying) and as stored (second)."""

    surnames: np.ndarray
    children: pd.DataFrame
    sent: pd.DataFrame
    stored: pd.DataFrame

    def recover_by_rank(self, groups: pd.Series) -> float:
        """Return the share of surnames recovered if the most common group is the most common name, and so on down."""
        return _recovered(_by_rank(groups, self.surnames), self.children.surname)


@pytest.fixture(scope="module")
def attack(keys: KeyRing) -> Attack:
    rng = np.random.default_rng(2)
    surnames = _names(_listed("surname_bands.txt"), SURNAMES, np.random.default_rng(1))
    given = _names(list(rng.permutation(_listed("given_names.txt"))), GIVEN_NAMES, rng)
    born = pd.Timestamp("2019-09-01") + pd.to_timedelta(rng.integers(0, 366, CHILDREN), unit="D")
    council = rng.choice(len(stress.COUNCILS), CHILDREN)
    children = pd.DataFrame(
        {
            "surname": rng.choice(surnames, CHILDREN, p=SHARES),
            "forename": rng.choice(given, CHILDREN, p=_zipf(GIVEN_NAMES, 0.75)),
            "date_of_birth": born,
            "postcode": stress._draw_postcodes(rng, council, CHILDREN),
            "council": np.array(stress.COUNCILS)[council],
            "source_row": np.arange(CHILDREN),
        }
    )
    sent = _tokens(children, keys)
    tables = (sent, pseudonyms.rekey(sent, TOKENS, keys))
    return Attack(surnames, children, *(table.to_pandas(types_mapper=_types.get) for table in tables))


def _tokens(children: pd.DataFrame, keys: KeyRing) -> pa.Table:
    """Return tokens as sent by the eight councils, one extract each, in the order of `source_row`."""
    with duckdb.connect() as con:
        pseudonyms.prepare(con)
        con.register("frame", pa.Table.from_pandas(children))
        sheet = "(SELECT '202425' AS cohort, * REPLACE (date_of_birth::DATE AS date_of_birth) FROM frame)"
        sent = pseudonyms.tokenise(con, sheet, COLUMNS, ["source_row"], keys, second_keying=False)
    return sent.sort_by("source_row")


_types = {pa.uint64(): pd.UInt64Dtype()}


def _by_rank(tokens: pd.Series, public: np.ndarray) -> pd.Series:
    """Guess that the most common token is the most common value of `public`, and so on down."""
    ranked = tokens.value_counts().index
    return tokens.map(dict(zip(ranked, public, strict=False)))


def _recovered(guess: pd.Series, truth: pd.Series) -> float:
    return float((guess.astype(object).where(guess.notna(), "") == truth).mean())


def test_the_attack_works_on_surnames_alone(attack: Attack) -> None:
    assert attack.recover_by_rank(pd.util.hash_pandas_object(attack.children.surname, index=False)) > 0.2


@pytest.mark.parametrize("keying", ["sent", "stored"])
def test_no_column_gives_surnames_away(attack: Attack, keying: str) -> None:
    tokens = getattr(attack, keying)
    found = {token: attack.recover_by_rank(tokens[token]) for token in TOKENS}
    assert len(found) > 20
    assert max(found.values()) < LIMIT, max(found, key=lambda token: found[token])


def test_knowing_every_date_of_birth_gives_no_pair_away(attack: Attack) -> None:
    """Pairs of surname and date are ranked by their expected number of children."""
    share_of_date = attack.children.date_of_birth.value_counts(normalize=True)
    order = np.argsort(-np.outer(SHARES[:2_000], share_of_date).ravel())
    days = share_of_date.index[order % len(share_of_date)].strftime("%m%d")
    guess = _by_rank(attack.stored.t_surname_dob, attack.surnames[order // len(share_of_date)] + days)
    assert _recovered(guess, attack.children.surname + attack.children.date_of_birth.dt.strftime("%m%d")) < LIMIT


def test_the_frequency_of_a_token_tells_little_more_than_which_name_is_common(attack: Attack) -> None:
    """A token that occurs k times is matched to the surname for which k children on one date are most likely.

    Guessing the most common surname for every child needs no token; the gain from tokens is bounded, not zero.
    """
    tokens, truth = attack.stored.t_surname_dob, attack.children.surname
    times = tokens.map(tokens.value_counts()).fillna(0).astype(int)
    expected = SHARES * CHILDREN / attack.children.date_of_birth.nunique()
    likeliest = {k: attack.surnames[np.argmax(k * np.log(expected) - expected)] for k in times.unique()}
    blind = _recovered(pd.Series(attack.surnames[0], truth.index), truth)
    assert _recovered(times.map(likeliest), truth) - blind < 0.025


@pytest.mark.parametrize(
    ("columns", "limit"),
    [
        (FIX_THE_SURNAME, LIMIT),
        (["t_surname_dob", "t_surname_postcode"], LIMIT),
        *(
            # Rows that share the sound, start or end of a surname may have several surnames, but mostly one.
            ([*FIX_THE_SURNAME, form], 2 * LIMIT)
            for form in TOKENS
            if form.startswith("t_surname_") and form not in FIX_THE_SURNAME
        ),
    ],
    ids=lambda columns: columns[-1] if isinstance(columns, list) else "",
)
def test_columns_joined_on_their_rows_give_hardly_any_surname_away(
    attack: Attack, columns: list[str], limit: float
) -> None:
    """Rows that share a token of the whole surname have the same surname, and so do chains of such rows."""
    assert attack.recover_by_rank(joined(attack.stored, columns)) < limit


@pytest.fixture(scope="module")
def two_services(attack: Attack, keys: KeyRing) -> pd.DataFrame:
    """Return tokens as sent by two services that see most children, with each row's surname and child: 2% have a wrong
    date of birth, 8% another address."""
    rng, children, services = np.random.default_rng(3), attack.children, []
    for share in (0.98, 0.85):
        seen = children[rng.random(len(children)) < share].copy()
        wrong, moved = rng.random(len(seen)) < 0.02, rng.random(len(seen)) < 0.08
        seen.loc[wrong, "date_of_birth"] = rng.permutation(children.date_of_birth)[: wrong.sum()]
        seen.loc[moved, "postcode"] = rng.permutation(children.postcode)[: moved.sum()]
        services.append(seen)
    tokens = pa.concat_tables([_tokens(service, keys) for service in services])
    rows = pd.concat(services, ignore_index=True)
    return tokens.to_pandas(types_mapper=_types.get).assign(surname=rows.surname, child=rows.source_row)


def test_joined_files_of_two_services_give_few_surnames_away(attack: Attack, two_services: pd.DataFrame) -> None:
    """A child with a wrong date in one file connects two dates of its surname if anything else shows that it is one
    child: linking relies on that. The gain is bounded, not zero."""
    guess = _by_rank(joined(two_services, FIX_THE_SURNAME), attack.surnames)
    assert _recovered(guess, two_services.surname) < LIMIT_OF_TWO_SERVICES


def test_a_token_of_common_names_joins_hardly_any_children_of_two_services(two_services: pd.DataFrame) -> None:
    common = two_services[two_services.t_names // 2**pseudonyms.BAND_BITS % 2**pseudonyms.BAND_BITS < RARE_SURNAME]
    children = common.groupby("t_names").child.nunique()
    assert len(children) > CHILDREN / 5
    assert (children > 1).mean() < 0.005


def joined(tokens: pd.DataFrame, columns: list[str]) -> pd.Series:
    """Return the group of each row: rows that share a value in a column are in one group."""
    rows, values, offset = [], [], 0
    for column in columns:
        codes, distinct = pd.factorize(tokens[column])
        rows.append(np.flatnonzero(codes >= 0))
        values.append(codes[codes >= 0] + offset)
        offset += len(distinct)
    nodes = label_components(np.concatenate(rows), np.concatenate(values) + len(tokens), len(tokens) + offset)
    return pd.Series(nodes[: len(tokens)])


@pytest.mark.slow
@pytest.mark.parametrize("keying", ["sent", "stored"])
def test_one_row_alone_tells_little(attack: Attack, keying: str) -> None:
    """Guesses use which tokens a row has and their last bits, compared with the most common surname for every child.

    The most likely surname of rows that look alike is learnt from children born on even days, whose names the attacker
    is assumed to know, and guessed for the others.
    """
    tokens, children = getattr(attack, keying)[TOKENS], attack.children
    looks = {token: (tokens[token] % endings).fillna(99) for token, endings in BANDS_OF.items()}
    looks["missing"] = pd.Series(tokens.notna().to_numpy() @ (1 << np.arange(len(TOKENS), dtype=np.int64)))
    looks["all of these"] = pd.DataFrame(looks).astype(str).agg("/".join, axis=1)
    known = children.date_of_birth.dt.day % 2 == 0
    truth, commonest = children.surname[~known], children.surname[known].mode()[0]
    blind, gains = _recovered(pd.Series(commonest, truth.index), truth), {}
    for name, look in looks.items():
        counts = pd.DataFrame({"look": look, "surname": children.surname})[known].value_counts()
        likeliest = counts.reset_index().drop_duplicates("look").set_index("look").surname
        gains[name] = _recovered(look[~known].map(likeliest).fillna(commonest), truth) - blind
    assert max(gains.values()) < LIMIT, max(gains, key=lambda name: gains[name])
