#!/bin/sh
# Run once, when PostgreSQL makes its folder: a database and a role for Dagster, and for the ledger.
set -eu
for name in dagster ledger; do
    psql --no-psqlrc --set ON_ERROR_STOP=1 --username postgres --set name="$name" --set role="readiness_$name" \
        --set password="$(cat "/run/secrets/${name}_password")" <<'SQL'
CREATE ROLE :"role" LOGIN PASSWORD :'password';
CREATE DATABASE :"name" OWNER :"role";
REVOKE ALL ON DATABASE :"name" FROM PUBLIC;
SQL
done
