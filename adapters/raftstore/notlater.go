//go:build !laterrules

package raftstore

const later = 0 // see later.go
