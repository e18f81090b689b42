"""Source data: contracts, council mappings, readers and synthetic extracts.

`contracts/` defines the columns and rules of the five sources. `councils/` maps each council's export to them.
`reference/` has public facts (places, code lists, cut-offs, published figures). `extract/` opens a landed file and
streams it in contract form. `diagnosis/` recognises a wrong file, `onboarding/` drafts council files and `synthetic/`
generates realistic extracts with the true links. Nothing here knows about keys, tokens, linkage or Dagster.
"""
