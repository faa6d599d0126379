#!/bin/sh
# Write .env from .env.example with a fresh secret in every empty line; an existing file stays as it is.
#   infra/compose/make-env.sh [FILE]
set -eu
root=$(cd "$(dirname "$0")/../.." && pwd)
target=${1:-$root/.env}
if [ -e "$target" ]; then
    echo "$target is there already; nothing done" >&2
    exit 1
fi
umask 077
while IFS= read -r line; do
    case $line in
        [A-Z]*=) line=$line$(od -An -N24 -tx1 /dev/urandom | tr -d ' \n') ;;
    esac
    printf '%s\n' "$line"
done <"$root/.env.example" >"$target"
echo "wrote $target"
