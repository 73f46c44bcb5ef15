package esdbstore

import (
	"context"
	"log/slog"
	"net"
	"time"
)

// Options says how to use the database. The zero value is right for production, but for Retention.
type Options struct {
	// Retention is set as $maxAge on heartbeat streams, once for each; 0: heartbeats stay.
	Retention time.Duration
	Logger    *slog.Logger // nil: discards
	Timings   Timings
	Dial      func(ctx context.Context, address string) (net.Conn, error) // nil: TCP
}

// Timings are the times that a fail-over is made of. A zero means the default.
type Timings struct {
	Attempt  time.Duration // how long a node may answer nothing before another is asked; 2 s
	Ping     time.Duration // between two looks whether the leader still leads; 1 s
	Probe    time.Duration // between two questions to each node while the leader is looked for; 200 ms
	Doubt    time.Duration // how long one that stopped answering must find no other leader to be taken again; 1.5 s
	Patience time.Duration // how long a call waits for a leader; 12 s
}

func (t Timings) withDefaults() Timings {
	for _, d := range []struct {
		of        *time.Duration
		otherwise time.Duration
	}{
		{&t.Attempt, 2 * time.Second}, {&t.Ping, time.Second}, {&t.Probe, 200 * time.Millisecond},
		{&t.Doubt, 1500 * time.Millisecond}, {&t.Patience, 12 * time.Second},
	} {
		if *d.of <= 0 {
			*d.of = d.otherwise
		}
	}
	return t
}
