#!/bin/sh
# Build gitleaks, for the tests of the rules of `authsvc patterns`. Needs Go, takes two minutes.
# It goes to SCANNERS, by default ~/.cache/authsvc-scanners; what is there already is left as it is. A trufflehog
# there, or on the PATH, is tested too. It is not built here, because its dependencies take half an hour.
set -eu
gitleaks=v8.30.0
target=${SCANNERS:-$HOME/.cache/authsvc-scanners}
mkdir -p "$target"
[ -x "$target/gitleaks" ] || GOBIN=$target go install "github.com/zricethezav/gitleaks/v8@$gitleaks"
