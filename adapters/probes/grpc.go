package probes

import (
	"context"
	"net"
	"sync/atomic"

	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials"
	"google.golang.org/grpc/credentials/insecure"
	health "google.golang.org/grpc/health/grpc_health_v1"
)

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
	var failed atomic.Pointer[error] // of the newest dial; it says more than the error that gRPC makes of it
	client, err := grpc.NewClient("passthrough:///"+t.authority(),
		grpc.WithTransportCredentials(secure), grpc.WithNoProxy(), grpc.WithDisableServiceConfig(), grpc.WithDisableRetry(),
		grpc.WithUserAgent(UserAgent), grpc.WithMaxHeaderListSize(maxHeaders),
		grpc.WithDefaultCallOptions(grpc.MaxCallRecvMsgSize(maxBody)), grpc.WithReadBufferSize(1<<10), grpc.WithWriteBufferSize(1<<10),
		grpc.WithContextDialer(func(ctx context.Context, _ string) (net.Conn, error) {
			conn, err := l.dial(ctx, &p)
			if err != nil {
				failed.Store(&err)
			}
			return conn, err
		}))
	if err != nil {
		return Finding{Err: err}
	}
	defer client.Close()
	answer, err := health.NewHealthClient(client).Check(ctx, &health.HealthCheckRequest{Service: t.Path})
	if err != nil {
		if cause := failed.Load(); cause != nil {
			err = *cause
		}
		return Finding{Err: err}
	}
	return Finding{Passed: answer.GetStatus() == health.HealthCheckResponse_SERVING, Status: int(answer.GetStatus())}
}
