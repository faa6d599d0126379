"""What a team runs on its Kubernetes cluster; the manifests beside it are kustomize's."""
