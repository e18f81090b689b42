"""The folder of synthetic children beside a release: an optional part, which no bundle and no page needs."""
