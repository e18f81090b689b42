"""The release page: the `site/` folder of a bundle, for readers with a browser.

Static pages with charts, tables and downloads, made only from the released tables and the facts of the release. They
need no network, and work from a folder as well as from a web server. Text and markup are in `templates/`.
"""
