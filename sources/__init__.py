"""What comes in.

`contracts/` says what each of the five sources must hold; `councils/` how each council's own export maps to it;
`reference/` the public facts (places, code lists, cut-offs, published figures); `extract/` opens a landed file and
streams it in contract form; `synthetic/` makes believable extracts with the truth beside them.
Nothing here knows of keys, tokens, linkage or Dagster.
"""
