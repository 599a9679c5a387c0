#!/bin/sh
# Build `docker compose` into the virtual environment, for the test of deploy/compose.yaml. Needs Go, takes minutes.
# Its module can't be installed directly (it excludes versions of others), only as a dependency.
set -eu
version=v2.40.3
target=$(cd "$(dirname "$0")/.." && pwd)/.venv/bin/docker-compose
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cd "$folder"
printf 'module compose\n\ngo 1.24\n' >go.mod
go get "github.com/docker/compose/v2/cmd@$version"
go build -o "$target" github.com/docker/compose/v2/cmd
