//go:build tools

// Package tools names the program that `make test-kubernetes` builds, so that go.mod pins its modules.
package tools

import _ "k8s.io/kubernetes/cmd/kube-apiserver"
