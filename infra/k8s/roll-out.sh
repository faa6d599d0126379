#!/bin/sh
# Roll an environment out: migrations first, and nothing else if they fail; then the workers, then the rest.
#   infra/k8s/roll-out.sh staging|production
set -eu
overlay=$(dirname "$0")/overlays/${1:?which environment: a folder of overlays/}
test -f "$overlay/kustomization.yaml" || { echo "there is no $overlay" >&2; exit 2; }
namespace=millrace-$1
in_it() { kubectl --namespace "$namespace" "$@"; }

in_it delete job migrate --ignore-not-found # a Job can't be changed
kubectl apply --kustomize "$overlay" --selector millrace.example/first=yes
until in_it wait --for=condition=complete --timeout=5s job/migrate 2>/dev/null; do
    if in_it wait --for=condition=failed --timeout=1s job/migrate 2>/dev/null; then
        in_it logs --tail=50 job/migrate >&2 || true
        echo "the migration failed: nothing was rolled out, the version before still runs" >&2
        exit 1
    fi
    sleep 1
done
wait_for() {
    for name in "$@"; do
        in_it rollout status "deployment/$name" --timeout=30m
    done
}
workers="worker-high worker-default worker-low"
# Who runs a job has to know its kind before anybody enqueues it. The first time there is nothing yet to reach PostgreSQL by.
if in_it get deployment web >/dev/null 2>&1; then
    kubectl apply --kustomize "$overlay" --selector millrace.example/pool
    wait_for $workers
fi
kubectl apply --kustomize "$overlay"
wait_for pgbouncer web dispatcher $workers flower
