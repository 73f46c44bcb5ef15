// Command etcd measures three nodes of Rollcall beside three nodes of etcd, by turns, in one run on this machine: processes of
// their own, loopback, writes synced on a majority. It is a module of its own, so that Rollcall does not depend on etcd.
//
//	go build -o bin/rollcall ./cmd/rollcall && cd cmd/rollcall/bench/etcd && go run . -rollcall ../../../../bin/rollcall
//
// etcd has its usual client, clientv3. Rollcall has a plain HTTP/1.1 connection for each caller, which costs this program little. Callers
// are spread over the three nodes. Because everything shares the processors, the processor time of the three servers for an operation says
// more than the rates.
package main

import (
	"context"
	"flag"
	"log"
	"os"
	"os/signal"
	"regexp"
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
	rounds := flag.Int("rounds", 3, "how often everything is measured; the round in the middle counts")
	only := flag.String("only", "", "regular expression of the measurements to make; all when left out")
	profile := flag.String("debug", "", "folder for a profile of the processor for each of Rollcall's nodes; none when left out")
	flag.Parse()
	wanted, err := regexp.Compile(*only)
	if err != nil {
		log.Fatal(err)
	}
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	defer stop()
	b := &bench{ctx: ctx, callers: *callers, length: *length, rounds: *rounds, only: wanted, profile: *profile}
	if err := b.measure(*binary); err != nil {
		log.Fatal(err)
	}
}

// measure starts both clusters and measures them.
func (b *bench) measure(binary string) error {
	dir, err := os.MkdirTemp("", "rollcall-beside-etcd-")
	if err != nil {
		return err
	}
	defer os.RemoveAll(dir)
	if b.etcd, err = started(dir, func(dir string) (*servers, error) { return startEtcd(b.ctx, dir) }); err != nil {
		return err
	}
	defer b.etcd.stop()
	if b.rollcall, err = started(dir, func(dir string) (*servers, error) { return startRollcall(b.ctx, binary, dir, b.profile != "") }); err != nil {
		return err
	}
	defer b.rollcall.stop()
	if b.alone, err = started(dir, func(dir string) (*servers, error) { return startAlone(b.ctx, binary, dir) }); err != nil {
		return err
	}
	defer b.alone.stop()
	if err := b.fill(); err != nil {
		return err
	}
	if b.profile != "" {
		if err := os.MkdirAll(b.profile, 0o755); err != nil {
			return err
		}
	}
	return b.run()
}
