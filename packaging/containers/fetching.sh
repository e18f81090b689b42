#!/bin/sh
# Run a command that fetches, with the certificates of the build's secret `ca` if there is one.
set -eu
if [ -f /run/secrets/ca ]; then
    export SSL_CERT_FILE=/run/secrets/ca PIP_CERT=/run/secrets/ca
fi
exec "$@"
