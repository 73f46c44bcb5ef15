package main

import (
	"slices"
	"testing"
)

// A number on the command line is written in decimal digits: 010 is no 8, 0x10 no 16 and 1_000 nothing.
func TestNumbersOnTheCommandLineAreDecimalDigits(t *testing.T) {
	t.Setenv("ROLLCALL_URL", "http://127.0.0.1:1") // nobody listens there
	for _, command := range [][]string{
		{"history", "--limit"}, {"timeline", "checkout", "--from", "1h ago", "--limit"}, {"histogram", "--buckets"}, {"webhooks", "deliveries", "x", "--limit"},
		{"report", "service", "checkout", "--from", "1h ago", "--below"}, {"instances", "checkout", "--max-silence"},
		{"register", "checkout/a", "--address", "10.0.0.5", "--weight"}, {"register", "checkout/a", "--address", "10.0.0.5", "--epoch"},
		{"policy", "set", "p", "--keep-last"}, {"serve", "--data", t.TempDir(), "--listen", "127.0.0.1:0", "--min-free-mib"},
		{"serve", "--data", t.TempDir(), "--listen", "127.0.0.1:0", "--limit-requests"}, {"replay", "--speed"},
		{"serve", "--data", t.TempDir(), "--listen", "127.0.0.1:0", "--probe-concurrency"},
	} {
		for _, text := range []string{"+5", "010", "0x10", "1_000", " 5", "5 ", ".5", "5.", "", "٥", "NaN", "Inf", "five"} {
			if err := runHere(t, slices.Concat(command, []string{text})...); err == nil || exitCode(err) != exitUsage {
				t.Errorf("%q with %q gave %v, which is not a mistake on the command line", command, text, err)
			}
		}
	}
	for _, args := range [][]string{
		{"register", "checkout/a", "--address", "10.0.0.5", "--port", "http=+8080"}, {"register", "checkout/a", "--address", "10.0.0.5", "--port", "http=08080,grpc=1"},
		{"register", "checkout/a", "--address", "10.0.0.5", "--port", "a=1,http=0x50"}, {"register", "checkout/a", "--address", "10.0.0.5", "--ttl", "+30s"},
		{"heartbeat", "checkout/a", "--every", "+1s"}, {"heartbeat", "checkout/a", "--every", "0s"}, {"heartbeat", "checkout/a", "--every", "99ms"}, {"heartbeat", "checkout/a", "--every", "-1s"},
		{"token", "create", "t", "--role", "reader", "--expires-in", "0s"}, {"token", "rotate", "t", "--expires-in", "0s"}, {"token", "rotate", "t", "--keep-old", "-1h"},
		{"run", "--service", "checkout", "--drain", "-1s", "--", "true"}, {"run", "--service", "checkout", "--stop-timeout", "-1s", "--", "true"}, {"policy", "set", "p", "--max-removals", "+2/10m"}, {"policy", "set", "p", "--max-removals", "2/+10m"},
		{"policy", "set", "p", "--max-removals", "02/10m"}, {"serve", "--data", t.TempDir(), "--listen", "127.0.0.1:0", "--dns-ttl", "+1s"},
	} {
		if err := runHere(t, args...); err == nil || exitCode(err) != exitUsage {
			t.Errorf("%q gave %v, which is not a mistake on the command line", args, err)
		}
	}
	for _, args := range [][]string{{"history", "--limit", "5"}, {"instances", "checkout", "--max-silence", "2.5"}, {"replay", "--speed", "0.5x"}, {"register", "checkout/a", "--address", "10.0.0.5", "--port", "http=8080,grpc=1", "--weight", "0"}} {
		if err := runHere(t, args...); exitCode(err) == exitUsage {
			t.Errorf("%q gave %v", args, err)
		}
	}
}
