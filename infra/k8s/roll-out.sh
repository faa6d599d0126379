#!/bin/sh
# Roll an environment out: migrations first, and nothing else if they fail.
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
kubectl apply --kustomize "$overlay"
for name in pgbouncer web dispatcher worker-high worker-default worker-low flower; do
    in_it rollout status "deployment/$name" --timeout=30m
done
