package main

import (
	"context"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// runHere runs the command line in this process with a context that has ended, so that a server which starts stops at once.
func runHere(t *testing.T, args ...string) error {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	c := root()
	c.SetArgs(args)
	c.SetOut(t.Output())
	c.SetErr(t.Output())
	return c.ExecuteContext(ctx)
}

// A setting that is wrong is refused, also where the setting that it belongs to is off.
func TestWrongSettingsAreRefusedWhateverElseIsSet(t *testing.T) {
	for _, wrong := range []struct{ args, names string }{
		{"--dns-ttl 3h", "ttl of DNS"},
		{"--dns-ttl 1ms", "ttl of DNS"},
		{"--dns-ttl -1s", "--dns-ttl"},
		{"--dns-rate-limit -1", "rate limit of DNS"},
		{"--dns-zone a..b", "zone"},
		{"--datacenter a.b", "datacenter"},
		{"--consul-deregister-after 3s", "consul-deregister-after"},
		{"--consul-deregister-after -1m", "consul-deregister-after"},
		{"--publish kafka://h/t", "publish must be nats://"},
		{"--publish redis://127.0.0.1:1/s?colour=red", "colour"},
		{"--probe-ca /dev/zero", "is no file"},
		{"--tls-cert /dev/zero --tls-key /dev/zero", "is no file"},
		{"--config /dev/zero", "is no file"},
		{"--access on --access-config /dev/zero", "is no file"},
		{"--tls-client-auth required", "both a certificate and a key"},
		{"--tls-client-auth bogus", "tls-client-auth"},
		{"--webhook-pause-after -1s", "webhook-pause-after"},
		{"--allow-host x:80", "allow-host"},
		{"--allow-host http://x", "allow-host"},
		{"--listen foo", "listen"},
		{"--listen 127.0.0.1:x", "listen"},
		{"--listen 127.0.0.1:70000", "listen"},
		{"--listen=", "listen must not be empty"},
		{"--data=", "data must not be empty"},
		{"--access=", "access must not be empty"},
		{"--log-level=", "log-level must not be empty"},
		{"--dns-listen foo", "dns-listen"},
		{"--consul-listen 8500", "consul-listen"},
		{"--debug-listen foo", "debug-listen"},
		{"--debug-listen 0.0.0.0:0", "debug-listen"},
		{"--debug-listen [::]:0 --access on", "debug-listen"},
		{"--probe-concurrency -1", "probe-concurrency"},
		{"--trusted-proxy-header x", "trusted-proxy-header"},
	} {
		args := append([]string{"serve", "--data", t.TempDir(), "--listen", "127.0.0.1:0"}, strings.Fields(wrong.args)...)
		if err := runHere(t, args...); err == nil || exitCode(err) != exitUsage || !strings.Contains(err.Error(), wrong.names) {
			t.Errorf("%s gave %v, which is not a mistake on the command line that names %q", wrong.args, err, wrong.names)
		}
	}
	for _, args := range [][]string{{"agent", t.TempDir(), "--dns-ttl", "3h"}, {"agent", t.TempDir(), "--listen", "foo"}, {"agent", t.TempDir(), "--dns-listen", "foo"}, {"demo", "--listen="}, {"demo", "--listen", "foo"}} {
		if err := runHere(t, args...); exitCode(err) != exitUsage {
			t.Errorf("%v gave %v, which is not a mistake on the command line", args, err)
		}
	}
}

func TestAFileThatGivesASettingNoValueIsRefused(t *testing.T) {
	for _, text := range []string{"access:\n", "access: ~\n", "access: ''\n", "data:\n"} {
		file := filepath.Join(t.TempDir(), "rollcall.yaml")
		if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		if err := runHere(t, "serve", "--listen", "127.0.0.1:0", "--config", file); err == nil || exitCode(err) != exitUsage {
			t.Errorf("%q gave %v", text, err)
		}
	}
}

func TestAnEmptyVariableDoesNotTurnAccessOff(t *testing.T) {
	t.Setenv("ROLLCALL_ACCESS", "")
	if err := runHere(t, "serve", "--data", t.TempDir(), "--listen", "127.0.0.1:0"); err == nil || exitCode(err) != exitUsage {
		t.Errorf("ROLLCALL_ACCESS= gave %v", err)
	}
}
