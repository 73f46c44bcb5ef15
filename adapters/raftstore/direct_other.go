//go:build !unix

package raftstore

import "net"

// direct writes to a plain connection what it takes at once. This system has no way to do that.
type direct struct{}

func directOf(net.Conn) *direct { return nil }

func (*direct) write([]byte) int { return 0 }
