// Command etcd measures three nodes of Rollcall beside three nodes of etcd, by turns, in one run on this machine: processes of
// their own, loopback, writes synced on a majority. It is a module of its own, so that Rollcall does not depend on etcd.
//
//	go build -o bin/rollcall ./cmd/rollcall && cd cmd/rollcall/bench/etcd && go run . -rollcall ../../../../bin/rollcall
//
// etcd has its usual client, clientv3. Rollcall has a plain HTTP/1.1 connection for each caller. Callers are spread over the
// three nodes. Because everything shares the processors, the processor time of the three servers for an operation says more
// than the rates.
package main

import (
	"context"
	"flag"
	"fmt"
	"log"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"time"
)

func main() {
	if len(os.Args) > 1 && os.Args[1] == "etcd-node" {
		runEtcd(os.Args[2:])
		return
	}
	binary := flag.String("rollcall", "rollcall", "the rollcall program")
	callers := flag.Int("callers", 64, "how many callers there are at once")
	length := flag.Duration("for", 4*time.Second, "how long each measurement takes")
	rounds := flag.Int("rounds", 2, "how often everything is measured; the best of the rates counts")
	profile := flag.String("debug", "", "folder for a profile of the processor for each of Rollcall's nodes; none when left out")
	flag.Parse()
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	defer stop()
	if err := measure(ctx, *binary, *callers, *length, *rounds, *profile); err != nil {
		log.Fatal(err)
	}
}

func measure(ctx context.Context, binary string, callers int, length time.Duration, rounds int, profile string) error {
	dir, err := os.MkdirTemp("", "rollcall-beside-etcd-")
	if err != nil {
		return err
	}
	defer os.RemoveAll(dir)
	etcd, err := startEtcd(ctx, dir)
	if err != nil {
		return err
	}
	defer etcd.stop()
	rollcall, err := startRollcall(ctx, binary, dir, profile != "")
	if err != nil {
		return err
	}
	defer rollcall.stop()
	b := &bench{ctx: ctx, etcd: etcd, rollcall: rollcall, callers: callers, length: length, rounds: rounds}
	if err := b.fill(); err != nil {
		return err
	}
	if profile != "" {
		if err := os.MkdirAll(profile, 0o755); err != nil {
			return err
		}
		b.profile = profile
	}
	return b.run()
}

// three are three processes.
type three struct {
	processes []*exec.Cmd
	urls      []string // of the nodes
	debug     []string // where Rollcall's nodes serve profiles
	leader    int      // index of the node that leads
}

func (t *three) stop() {
	for _, p := range t.processes {
		_ = p.Process.Kill()
		_ = p.Wait()
	}
}

// cpu is the processor time that the three have used.
func (t *three) cpu() (used time.Duration) {
	for _, p := range t.processes {
		b, err := os.ReadFile(filepath.Join("/proc", fmt.Sprint(p.Process.Pid), "stat"))
		if err != nil {
			return 0
		}
		used += processorTime(string(b))
	}
	return used
}
