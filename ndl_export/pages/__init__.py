"""The page kit: renders every page and document of the product from a template, and draws charts.

`kit` renders templates, `number_format` formats numbers, times and lists, and `charts` computes the layout of drawings.
The kit's own templates, which other packages include as `kit/<name>`, are the frame of a report in the restricted zone,
its parts and its drawings. The text of a page belongs to the package that writes it.
"""
