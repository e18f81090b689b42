"""Links of the documentation's site: what fails its build."""

from pathlib import Path

import pytest

from docs.check_links import list_broken_links


@pytest.mark.parametrize(
    ("link", "problem"),
    [
        ('<a href="guides/second.html#there">Second</a>', None),
        ('<a href="https://example.org"><img src="x.png" alt="Example"></a>', None),
        ('<a href="#here" aria-label="Here"></a><i id="here"></i>', None),
        ('<a href="guides/second.html"></a>', "the link to guides/second.html has no text"),
        ('<a href="guides/second :link-type: doc">Second</a>', "guides/second :link-type: doc leads to no file"),
        ('<a href="guides/second.html#nowhere">Second</a>', "guides/second.html#nowhere leads to no place on the page"),
    ],
)
def test_links_have_text_and_lead_to_a_place(tmp_path: Path, link: str, problem: str | None) -> None:
    (tmp_path / "guides").mkdir()
    (tmp_path / "index.html").write_text(link, encoding="utf-8")
    (tmp_path / "guides/second.html").write_text('<h2 id="there">There</h2>', encoding="utf-8")
    assert list(list_broken_links(tmp_path)) == ([f"index.html: {problem}"] if problem else [])
