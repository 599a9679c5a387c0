#!/bin/sh
# Build Traefik and fetch Tomcat, for the tests of deploy/traefik and of gateways. Needs Go and Maven, takes ten minutes.
# They go to AUTHSVC_GATEWAYS, by default ~/.cache/authsvc-gateways; what is there already is left as it is.
set -eu
traefik=v3.7.9
tomcat=11.0.27
target=${AUTHSVC_GATEWAYS:-$HOME/.cache/authsvc-gateways}
mkdir -p "$target"

if [ ! -x "$target/traefik-${traefik#v}" ] && command -v go >/dev/null; then
    folder=$(mktemp -d)
    trap 'rm -rf "$folder"' EXIT
    cd "$folder"
    # Its module can't be installed directly, as it replaces three others. This one is a part of its repository that
    # modules leave out: two empty structures.
    mkdir ext
    printf 'module github.com/traefik/traefik/dynamic/ext\n\ngo 1.26\n' >ext/go.mod
    printf 'package ext\n\ntype HTTP struct{}\n\ntype Router struct{}\n' >ext/ext.go
    cat >go.mod <<EOF
module gateway

go 1.26

require github.com/traefik/traefik/v3 $traefik

replace (
	github.com/abbot/go-http-auth => github.com/containous/go-http-auth v0.4.1-0.20200324110947-a37a7636d23e
	github.com/gorilla/mux => github.com/containous/mux v0.0.0-20250523120546-41b6ec3aed59
	github.com/traefik/traefik/dynamic/ext => ./ext
)
EOF
    printf 'package main\n\nimport _ "github.com/traefik/traefik/v3/cmd/traefik"\n' >main.go
    go build -mod=mod -ldflags '-s -w' -o traefik github.com/traefik/traefik/v3/cmd/traefik
    mv traefik "$target/traefik-${traefik#v}"
fi

if [ ! -d "$target/tomcat-$tomcat" ] && command -v mvn >/dev/null; then
    for artifact in org.apache.tomcat.embed:tomcat-embed-core org.apache.tomcat:tomcat-annotations-api; do
        mvn -q -B dependency:copy -Dartifact="$artifact:$tomcat" -DoutputDirectory="$target/tomcat.part"
    done
    mv "$target/tomcat.part" "$target/tomcat-$tomcat"
fi
