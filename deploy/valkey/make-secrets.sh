#!/bin/sh
# Make the passwords of the store's users, once. In FOLDER, which only its owner may enter:
#   users.acl          for the store: its users, with digests of their passwords
#   redis_url          for AUTHSVC_REDIS_URL_FILE
#   operator_password  for people: valkey-cli --user operator
set -eu
umask 077
usage='usage: make-secrets.sh FOLDER [URL of the store, such as redis://127.0.0.1:6379/0]'
folder=${1:?$usage}
url=${2:-redis://127.0.0.1:6379/0}
template=$(dirname "$0")/users.acl

refuse() {
    echo "make-secrets.sh: $1" >&2
    echo "$usage" >&2
    exit 2
}
# The URL is not quoted: it may hold a password.
case $url in
    redis://?* | rediss://?* | unix://?* | redis+sentinel://?* | rediss+sentinel://?* | redis+cluster://?* | rediss+cluster://?*) ;;
    *) refuse "the URL must begin with redis://, rediss://, unix://, redis+sentinel:// or redis+cluster://" ;;
esac
without_options=${url%%\?*}
rest=${without_options#*://}
case $url in
    unix://*) rest=${rest%%/*} ;;  # a path may have an @
esac
case $rest in
    *@*) refuse "the URL has a user or a password already: leave them out, because this script makes them" ;;
esac

if [ -e "$folder/users.acl" ]; then
    echo "make-secrets.sh: $folder/users.acl is there already; changing a password is in docs/deploy.md" >&2
    exit 1
fi
random() { od -An -N 32 -t x1 /dev/urandom | tr -d ' \n'; }
digest() { printf %s "$1" | sha256sum | cut -d ' ' -f 1; }
authsvc=$(random)
operator=$(random)

mkdir -p "$folder"
chmod 700 "$folder"
printf '%s://authsvc:%s@%s\n' "${url%%://*}" "$authsvc" "${url#*://}" >"$folder/redis_url"
printf '%s\n' "$operator" >"$folder/operator_password"
sed -e "s/AUTHSVC_PASSWORD_SHA256/$(digest "$authsvc")/" -e "s/OPERATOR_PASSWORD_SHA256/$(digest "$operator")/" \
    "$template" >"$folder/users.acl"
# The folder guards them. Mounted one by one into containers they have to be readable by users of other numbers.
chmod 444 "$folder/users.acl" "$folder/redis_url" "$folder/operator_password"
