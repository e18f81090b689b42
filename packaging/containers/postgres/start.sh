#!/bin/sh
# PostgreSQL with a database and a role for Dagster, and for the ledger. The first time, they are made beside their
# place, and moved there when complete. Superuser log-ins work only inside the container.
set -eu
data=/var/lib/postgresql/data
server=$(echo /usr/lib/postgresql/*/bin)
version=$(basename "$(dirname "$server")")
PATH=$server:$PATH
for other in "$data"/[0-9]*; do
    if [ -d "$other" ] && [ "$other" != "$data/$version" ]; then
        echo "$other was made by another version of PostgreSQL than this one, $version: see docs/deployment.md" >&2
        exit 1
    fi
done
if [ ! -d "$data/$version" ]; then
    rm -rf "$data/new"
    initdb --pgdata "$data/new" --username postgres --encoding UTF8 --locale C.UTF-8 --auth-local peer \
        --auth-host scram-sha-256 --data-checksums
    pg_ctl --pgdata "$data/new" --wait --options "-c listen_addresses=" start
    for name in dagster ledger; do
        psql --no-psqlrc --set ON_ERROR_STOP=1 --username postgres --set name="$name" --set role="readiness_$name" \
            --set password="$(cat "/run/secrets/${name}_password")" <<'SQL'
CREATE ROLE :"role" LOGIN PASSWORD :'password';
CREATE DATABASE :"name" OWNER :"role";
REVOKE ALL ON DATABASE :"name" FROM PUBLIC;
SQL
        echo "host $name readiness_$name samenet scram-sha-256" >> "$data/new/pg_hba.conf"
    done
    pg_ctl --pgdata "$data/new" --wait stop
    mv "$data/new" "$data/$version"
fi
exec postgres -D "$data/$version" -c listen_addresses='*'
