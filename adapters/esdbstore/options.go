package esdbstore

import (
	"context"
	"log/slog"
	"net"
	"time"
)

// Options says how to use the database. The zero value is right for production, except for Retention.
type Options struct {
	// Retention is set as $maxAge on each heartbeat stream, once; 0: heartbeats are kept for ever.
	Retention time.Duration
	Logger    *slog.Logger // nil: discards
	Timings   Timings
	Dial      func(ctx context.Context, address string) (net.Conn, error) // nil: TCP
}

// Timings are the times of a fail-over. Zero means the default, which stands behind each field.
type Timings struct {
	Attempt    time.Duration // how long the leader may give no answer before another leader is looked for; 2 s
	Ping       time.Duration // between two checks that the leader still leads; 1 s
	Probe      time.Duration // between two probes of each node while the leader is looked for; 200 ms
	Doubt      time.Duration // how long no other node may claim the lead before a node in doubt is used again; 1.5 s
	LeaderWait time.Duration // how long a call waits for a leader; 12 s
}

func (t Timings) withDefaults() Timings {
	for _, d := range []struct {
		of        *time.Duration
		otherwise time.Duration
	}{
		{&t.Attempt, 2 * time.Second}, {&t.Ping, time.Second}, {&t.Probe, 200 * time.Millisecond},
		{&t.Doubt, 1500 * time.Millisecond}, {&t.LeaderWait, 12 * time.Second},
	} {
		if *d.of <= 0 {
			*d.of = d.otherwise
		}
	}
	return t
}
