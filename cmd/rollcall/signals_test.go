package main

import (
	"context"
	"errors"
	"fmt"
	"io"
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

// An error of a command that a signal has ended names the signal, and says everything once.
func TestAnErrorNamesTheSignal(t *testing.T) {
	err := fmt.Errorf("%w; run it again to go on", context.Canceled)
	err = errors.Join(err, err)
	if line := endLine(err, errors.New("interrupt signal received")); line != "interrupt signal received; run it again to go on" {
		t.Error(line)
	}
	if line := endLine(err, nil); line != "context canceled; run it again to go on" {
		t.Error(line)
	}
}

// A backup of a data folder that is broken off leaves the folder as it was, and the next one is whole.
func TestABackupThatIsBrokenOffLeavesTheDataFolderAsItWas(t *testing.T) {
	data := filepath.Join(t.TempDir(), "data")
	if err := openFolder(t, data, func(n *node) { registerInstance(t, n, "a") }); err != nil {
		t.Fatal(err)
	}
	archive, err := offlineBackup(data, nil)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := io.ReadFull(archive, make([]byte, 100)); err != nil {
		t.Fatal(err)
	}
	if err := archive.Close(); err != nil {
		t.Fatal(err)
	}
	if left, err := filepath.Glob(filepath.Join(data, "backup-scratch-*")); err != nil || len(left) > 0 {
		t.Errorf("it leaves %v, %v", left, err)
	}
	if out, err := rollcall("backup", filepath.Join(t.TempDir(), "backup"), "--data", data); err != nil {
		t.Error(out, err)
	}
}
