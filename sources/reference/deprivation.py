"""The deprivation index whose quintiles are published in releases."""

EDITION = "2025"
"""Edition of the English Indices of Deprivation. A directory may state another in its column `imd_edition`."""
INDEX = f"Index of Multiple Deprivation {EDITION}"
SOURCE = (
    "English Indices of Deprivation 2025 (IoD2025), Ministry of Housing, Communities and Local Government, 30 October"
    " 2025; ranks of the 33,755 lower-layer super output areas of the census of 2021"
)
