"""The page kit: how every page and document of the product is made of a template, and how charts are drawn.

`kit` renders, `number_format` writes numbers, times and lists, `charts` places everything in a drawing. Templates of
the kit, which others know as `kit/<name>`, are the frame of a report in the restricted zone, its parts and its
drawings. What a page says belongs to the package that writes it.
"""
