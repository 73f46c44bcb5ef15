package web

import (
	"context"
	"net"
)

type localKey struct{}

// ConnContext is for http.Server. It marks the context of connections through a Unix socket. A user who can connect to
// the socket in the data folder can read the data folder, and so has an operator's rights.
func ConnContext(ctx context.Context, c net.Conn) context.Context {
	if c.LocalAddr().Network() == "unix" {
		return context.WithValue(ctx, localKey{}, true)
	}
	return ctx
}

// IsLocal says whether a request came through the Unix socket.
func IsLocal(ctx context.Context) bool { return ctx.Value(localKey{}) != nil }
