package probes

import (
	"context"
	"errors"
	"net"
	"sync/atomic"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials"
	"google.golang.org/grpc/credentials/insecure"
	health "google.golang.org/grpc/health/grpc_health_v1"
	"google.golang.org/grpc/stats"
	"google.golang.org/grpc/status"
)

// told is an error that a server of gRPC answered with. Without it, the error of a call may be the client's own: both have the
// same codes.
type told struct{ error }

func (e told) Unwrap() error { return e.error }

// lookGRPC asks the server's health service once. It connects anew each time: a connection of gRPC that is kept takes more
// memory than a server's answer is worth.
func (l *Looker) lookGRPC(ctx context.Context, t *Target, address string) Finding {
	p, err := l.place(ctx, t, address)
	if err != nil {
		return Finding{Err: err}
	}
	secure := insecure.NewCredentials()
	if t.TLS {
		secure = credentials.NewTLS(p.tls())
	}
	var seen call
	client, err := grpc.NewClient("passthrough:///"+t.authority(),
		grpc.WithTransportCredentials(watched{secure, &seen}), grpc.WithStatsHandler(&seen), grpc.WithNoProxy(),
		grpc.WithDisableServiceConfig(), grpc.WithDisableRetry(), grpc.WithUserAgent(UserAgent), grpc.WithMaxHeaderListSize(maxHeaders),
		grpc.WithDefaultCallOptions(grpc.MaxCallRecvMsgSize(maxBody)), grpc.WithReadBufferSize(1<<10), grpc.WithWriteBufferSize(1<<10),
		grpc.WithContextDialer(func(ctx context.Context, _ string) (net.Conn, error) {
			conn, err := l.dial(ctx, &p)
			seen.fails(err)
			return conn, err
		}))
	if err != nil {
		return Finding{Err: err}
	}
	defer client.Close()
	answer, err := health.NewHealthClient(client).Check(ctx, &health.HealthCheckRequest{Service: t.Path})
	if err != nil {
		return seen.finding(err)
	}
	return Finding{Passed: answer.GetStatus() == health.HealthCheckResponse_SERVING, Status: int(answer.GetStatus())}
}

// call is what is seen of a call beside its result.
type call struct {
	ended  atomic.Bool           // the server ended the call: it gave a status
	failed atomic.Pointer[error] // the first failure of a connection; it says more than the error that gRPC makes of it
}

func (c *call) fails(err error) {
	if err != nil {
		c.failed.CompareAndSwap(nil, &err)
	}
}

// finding is the finding of a call that ended with an error.
func (c *call) finding(err error) Finding {
	if c.ended.Load() {
		return Finding{Err: told{err}, Answered: true}
	}
	switch status.Code(err) {
	case codes.Unavailable, codes.DeadlineExceeded, codes.Canceled:
	default: // there was an answer, in which the client found a fault
		return Finding{Err: err, Answered: true}
	}
	if cause := c.failed.Load(); cause != nil {
		err = *cause
	}
	return Finding{Err: err, Answered: errors.Is(err, errNotHTTP2)}
}

// TagRPC implements stats.Handler, as the next three methods do.
func (c *call) TagRPC(ctx context.Context, _ *stats.RPCTagInfo) context.Context { return ctx }

// HandleRPC notes that the call's status came.
func (c *call) HandleRPC(_ context.Context, s stats.RPCStats) {
	if _, ok := s.(*stats.InTrailer); ok {
		c.ended.Store(true)
	}
}

// TagConn has nothing to say.
func (c *call) TagConn(ctx context.Context, _ *stats.ConnTagInfo) context.Context { return ctx }

// HandleConn has nothing to note.
func (c *call) HandleConn(context.Context, stats.ConnStats) {}

// watched are credentials that note why a handshake or a connection failed.
type watched struct {
	credentials.TransportCredentials
	seen *call
}

// ClientHandshake implements credentials.TransportCredentials.
func (w watched) ClientHandshake(ctx context.Context, authority string, conn net.Conn) (net.Conn, credentials.AuthInfo, error) {
	secure, info, err := w.TransportCredentials.ClientHandshake(ctx, authority, conn)
	w.seen.fails(err)
	if err == nil {
		secure = &watchedConn{Conn: secure, seen: w.seen}
	}
	return secure, info, err
}

// Clone implements credentials.TransportCredentials.
func (w watched) Clone() credentials.TransportCredentials {
	return watched{w.TransportCredentials.Clone(), w.seen}
}

var errNotHTTP2 = errors.New("the answer is not HTTP/2")

// watchedConn notes why reading failed, and whether the server speaks another protocol. It has one reader.
type watchedConn struct {
	net.Conn
	seen *call
	read int // bytes
}

// settings are the type of the frame with which a server begins, and where the type is in a frame.
const settings, typeAt = 4, 3

func (c *watchedConn) Read(b []byte) (int, error) {
	n, err := c.Conn.Read(b)
	if at := typeAt - c.read; at >= 0 && at < n && b[at] != settings {
		c.seen.fails(errNotHTTP2)
	}
	c.read += n
	c.seen.fails(err)
	return n, err
}
