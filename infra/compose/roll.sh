#!/bin/sh
# Replace a service's containers one at a time with what docker-compose.yml and its image now say:
# stop one (it finishes what it runs, within its grace period), start its successor, wait until that is
# healthy, go on with the next.
#   infra/compose/roll.sh SERVICE...
set -eu
for service in "$@"; do
    old=$(docker compose ps --quiet "$service")
    if [ -z "$old" ]; then
        echo "$service: nothing runs" >&2
        exit 1
    fi
    count=$(echo "$old" | wc -l)
    for container in $old; do
        began=$(date +%s)
        docker stop "$container" >/dev/null
        code=$(docker inspect --format '{{.State.ExitCode}}' "$container")
        stopped=$(date +%s)
        docker rm "$container" >/dev/null
        said=$(docker compose up --detach --no-deps --no-recreate --no-build --wait \
            --wait-timeout 120 --scale "$service=$count" "$service" 2>&1) || {
            echo "$said" >&2
            echo "$service: the successor of $container is not healthy; the others still run" >&2
            exit 1
        }
        echo "$service: stopped in $((stopped - began)) s (exit code $code)," \
            "successor healthy $(($(date +%s) - stopped)) s later"
    done
done
