#!/bin/sh
# Build both images of the last commit, dated by it, and print their ids: SHA-256 of configuration and layers, and so the
# same wherever the same commit is built on the same base with the same packages of Debian. Options are podman's.
#   packaging/containers/images.sh VERSION [--build-arg BASE=IMAGE@sha256:...]
set -eu
version=$1
shift
if [ -n "$(git status --porcelain)" ]; then
    echo "files differ from the last commit, and images hold only that: commit or stash them" >&2
    exit 1
fi
SOURCE_DATE_EPOCH=$(git log -1 --format=%ct)
for target in readiness postgres; do
    name=localhost/readiness
    [ "$target" = readiness ] || name=$name-$target
    podman build --quiet --file packaging/containers/Containerfile --target "$target" --tag "$name:$version" \
        --timestamp "$SOURCE_DATE_EPOCH" --build-arg "SOURCE_DATE_EPOCH=$SOURCE_DATE_EPOCH" "$@" . >&2
    echo "sha256:$(podman image inspect --format '{{.Id}}' "$name:$version")  $name:$version"
done
