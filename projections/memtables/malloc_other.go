//go:build !cgo || !linux

package memtables

// giveBack has nothing to do: without cgo, blocks and memtables are the Go runtime's, and other C libraries have no call for it.
func giveBack() {}
