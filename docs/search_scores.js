// Scores of search results: Sphinx's own, but headings that have the words as they were typed come first, and the
// reference of the code after every page for readers.
var Scorer = {
  score: ([page, _title, _anchor, _description, score, _file, kind]) =>
    score + (kind === "title" ? 20 : 0) - (page.startsWith("reference/code/") ? 1000 : 0),
  objNameMatch: 11,
  objPartialMatch: 6,
  objPrio: { 0: 15, 1: 5, 2: -5 },
  objPrioDefault: 0,
  title: 15,
  partialTitle: 7,
  term: 5,
  partialTerm: 2,
};
