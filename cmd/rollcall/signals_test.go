package main

import (
	"os/exec"
	"path/filepath"
	"syscall"
	"testing"
	"time"
)

// An open of a pipe that nobody writes to knows no context. The signals after the first one end the process all the same.
func TestAProcessThatWaitsForAPipeIsEndedBySignals(t *testing.T) {
	t.Parallel()
	path, err := binary()
	if err != nil {
		t.Fatal(err)
	}
	pipe := filepath.Join(t.TempDir(), "pipe")
	if err := syscall.Mkfifo(pipe, 0o600); err != nil {
		t.Fatal(err)
	}
	c := exec.Command(path, "access", "check", pipe)
	if err := c.Start(); err != nil {
		t.Fatal(err)
	}
	ended := make(chan struct{}) // closed when the process has ended
	go func() {
		defer close(ended)
		_ = c.Wait()
	}()
	signals := time.NewTicker(100 * time.Millisecond)
	defer signals.Stop()
	for deadline := time.After(time.Minute); ; {
		select {
		case <-ended:
			return
		case <-signals.C:
			_ = c.Process.Signal(syscall.SIGTERM)
		case <-deadline:
			_ = c.Process.Kill()
			t.Fatal("it does not end")
		}
	}
}
