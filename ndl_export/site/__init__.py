"""The release page: the `site/` folder of a bundle, for readers with a browser.

Static pages with charts, tables and downloads, made only from the released tables and the facts of the release. They
need no network, and work from a folder as well as from a web server. Text and markup are in `templates/`.
"""

from ndl_export.site.inference import conclusions_of
from ndl_export.site.pages import SITE_FOLDER, publish_site, site_downloads, site_files, site_names

__all__ = ["SITE_FOLDER", "conclusions_of", "publish_site", "site_downloads", "site_files", "site_names"]
