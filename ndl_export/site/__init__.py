"""The release page: the `site/` folder of a bundle, for readers with a browser.

Static pages with charts, tables and downloads, made only from the released tables and the facts of the release. They
need no network, and work from a folder as well as from a web server. Text and markup are in `templates/`.
"""

from ndl_export.site.inference import query_conclusions
from ndl_export.site.pages import build_site_downloads, build_site_files, list_site_names, publish_site

__all__ = ["build_site_downloads", "build_site_files", "list_site_names", "publish_site", "query_conclusions"]
