#!/bin/sh
# nginx, with this container's name server: the address of the networks' name server differs by engine.
set -eu
awk '$1 == "nameserver" { print "resolver " ($2 ~ /:/ ? "[" $2 "]" : $2) " valid=10s;"; exit }' /etc/resolv.conf \
    > /tmp/resolver.conf
exec nginx -c /etc/nginx/readiness.conf
