"""The release page: the folder `site/` of a bundle, for anyone who reads the figures in a browser.

A few static pages with charts, tables and downloads, made from the released tables and the facts of the release alone.
They ask nothing of the network and work from a folder as from a web server. Words and markup are in `templates/`.
"""

from ndl_export.site.inference import conclusions_of
from ndl_export.site.pages import SITE_FOLDER, publish_site, site_downloads, site_files, site_names

__all__ = ["SITE_FOLDER", "conclusions_of", "publish_site", "site_downloads", "site_files", "site_names"]
