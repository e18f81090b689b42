#!/bin/sh
# Make what a deployment needs beforehand, in the folder mounted at /srv: folders, keys, passwords, each for the account
# that reads it. Existing files stay as they are. Run as root of the container; docs/deployment.md says how.
set -eu
umask 077
data=/srv/data secrets=/srv/secrets
mkdir -p "$data/landing" "$data/home" "$data/settings" "$data/published" "$secrets"
if [ ! -d "$secrets/restricted-keys" ]; then
    readiness keys create "$secrets/new"
    mkdir -p "$secrets/release-keys"
    cp "$secrets/new/input-mac.key" "$secrets/new/signing.pem" "$secrets/release-keys"
    rm "$secrets/new/signing.pem"
    mv "$secrets/new" "$secrets/restricted-keys"
fi
for name in dagster ledger; do
    [ -s "$secrets/${name}_password" ] ||
        python3 -c 'import secrets; print(secrets.token_urlsafe(32))' > "$secrets/${name}_password"
done
dagster=postgres:5432:dagster:readiness_dagster:$(cat "$secrets/dagster_password")
echo "$dagster" > "$secrets/pgpass_dagster"
{ echo "$dagster"; echo "postgres:5432:ledger:readiness_ledger:$(cat "$secrets/ledger_password")"; } \
    > "$secrets/pgpass_release"
chown -R 10001:10001 "$data" "$secrets/restricted-keys" "$secrets/release-keys" "$secrets"/pgpass_*
chown 10002:10002 "$secrets"/*_password
chmod 0711 /srv "$secrets"
chmod 0755 "$data/published"
