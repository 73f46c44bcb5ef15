package main

import (
	"os"
	"os/exec"
)

// servers are the processes of a cluster, or of a node alone.
type servers struct {
	processes []process
	urls      []string // of the nodes
	debug     []string // where Rollcall's nodes serve profiles
	metrics   []string // where the nodes of a cluster of Rollcall tell how many blocks they had
	leader    int      // index of the node that leads
}

// process is a process that was started.
type process struct {
	*os.Process
	ended chan struct{} // closed when the process has ended
}

func (t *servers) start(binary string, args ...string) error {
	c := exec.Command(binary, args...)
	c.Stderr = os.Stderr
	if err := c.Start(); err != nil {
		return err
	}
	p := process{c.Process, make(chan struct{})}
	t.processes = append(t.processes, p)
	go func() { // it ends with the process, for which stop waits
		_ = c.Wait()
		close(p.ended)
	}()
	return nil
}

// ended says whether one of the processes has ended.
func (t *servers) ended() bool {
	for _, p := range t.processes {
		select {
		case <-p.ended:
			return true
		default:
		}
	}
	return false
}

func (t *servers) stop() {
	for _, p := range t.processes {
		_ = p.Kill()
		<-p.ended
	}
}
