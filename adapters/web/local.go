package web

import (
	"context"
	"net"
)

type connectionKey struct{}

// ConnContext is for http.Server. It puts the connection into the context of the connection's requests.
func ConnContext(ctx context.Context, c net.Conn) context.Context {
	return context.WithValue(ctx, connectionKey{}, c)
}

// IsLocal says whether a request came through the Unix socket. A user who can connect to the socket in the data folder can
// read the data folder, and so has an operator's rights.
func IsLocal(ctx context.Context) bool {
	c, ok := ctx.Value(connectionKey{}).(net.Conn)
	return ok && c.LocalAddr().Network() == "unix"
}
