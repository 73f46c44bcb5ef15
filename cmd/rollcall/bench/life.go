package bench

import (
	"bufio"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"time"

	"github.com/rollcall-registry/rollcall/adapters/pebblestore"
)

// delivery is the time from sending a registration to a subscriber having it, alone and beside heartbeats.
// The floor, by turns with it, is a bare request and then a sync of what an event takes.
func (b *bench) delivery() error {
	for _, busy := range []bool{false, true} {
		name := "registration to subscriber, alone"
		stop := make(chan struct{})
		ended := make(chan struct{})
		if busy {
			name = "registration to subscriber, 2,000 heartbeats/s"
			go func() {
				defer close(ended)
				c, err := dialRaw(b.address)
				if err != nil {
					return
				}
				defer c.conn.Close()
				t := time.NewTicker(500 * time.Microsecond)
				defer t.Stop()
				for i := 0; ; i++ {
					select {
					case <-stop:
						return
					case <-t.C:
						if _, _, err := c.do(rawRequest("PUT", benchPath(i%benchFleet)+"/heartbeat", "")); err != nil {
							return
						}
					}
				}
			}()
		} else {
			close(ended)
		}
		times, floors, err := b.deliveries(int(b.each / (4 * time.Millisecond)))
		close(stop)
		<-ended
		if err != nil {
			return err
		}
		b.add(waits("floor beside: "+name, floors))
		f := waits(name, times)
		if busy {
			f.Goals = []goal{{Of: "p99_ms", Max: 5, each: " ms"}}
		}
		b.add(f)
	}
	return nil
}

// waits is the figure of how long things took.
func waits(name string, times []time.Duration) figure {
	slices.Sort(times)
	l := load{latencies: times}
	return figure{Name: name, Value: l.at(1).Seconds() * 1000, Unit: "ms at most", P50: l.at(0.5).Seconds() * 1000, P99: l.at(0.99).Seconds() * 1000}
}

func (b *bench) deliveries(n int) (times, floors []time.Duration, err error) {
	sub, err := dialRaw(b.address)
	if err != nil {
		return nil, nil, err
	}
	defer sub.conn.Close()
	if _, err := sub.conn.Write(rawRequest("GET", "/v1/streams/services/watched", "")); err != nil {
		return nil, nil, err
	}
	floor, err := b.requestAndSync()
	if err != nil {
		return nil, nil, err
	}
	defer func() { err = errors.Join(err, floor.close()) }()
	seen := make(chan time.Time, 1)
	failed := make(chan error, 1)
	go func() {
		for lines := bufio.NewReader(sub.r); ; {
			line, err := lines.ReadString('\n')
			if err != nil {
				failed <- err
				return
			}
			if strings.HasPrefix(line, "event: ") {
				seen <- time.Now()
			}
		}
	}()
	<-seen // the snapshot
	c, err := dialRaw(b.address)
	if err != nil {
		return nil, nil, err
	}
	defer c.conn.Close()
	const pace = 3 * time.Millisecond
	for i := range max(n, 20) {
		took, err := floor.once()
		if err != nil {
			return nil, nil, err
		}
		floors = append(floors, took)
		time.Sleep(pace)
		sent := time.Now()
		if _, _, err := c.do(rawRequest("PUT", "/v1/services/watched/instances/a", benchBody(1, i))); err != nil {
			return nil, nil, err
		}
		select {
		case at := <-seen:
			times = append(times, at.Sub(sent))
		case err := <-failed:
			return nil, nil, err
		}
		time.Sleep(pace)
	}
	return times, floors, nil
}

// requestAndSync is what any durable command waits for, whatever the server: a request, and a sync.
type requestAndSync struct {
	conn *rawConn
	file *os.File
}

func (b *bench) requestAndSync() (*requestAndSync, error) {
	c, err := dialRaw(b.floor.address)
	if err != nil {
		return nil, err
	}
	f, err := os.Create(filepath.Join(b.dir, "floor.sync"))
	if err != nil {
		return nil, errors.Join(err, c.conn.Close())
	}
	return &requestAndSync{c, f}, nil
}

func (r *requestAndSync) once() (time.Duration, error) {
	began := time.Now()
	_, _, err := r.conn.do(rawRequest("PUT", "/204", ""))
	if err == nil {
		_, err = r.file.Write(make([]byte, 256))
	}
	if err == nil {
		err = r.file.Sync()
	}
	return time.Since(began), err
}

func (r *requestAndSync) close() error {
	return errors.Join(r.conn.conn.Close(), r.file.Close(), os.Remove(r.file.Name()))
}

// disk is what heartbeats take, once they are in tables.
func (b *bench) disk() error {
	dir := filepath.Join(b.dir, "disk")
	s, err := startRegistry(b.ctx, dir)
	if err != nil {
		return err
	}
	one := &bench{ctx: b.ctx, out: io.Discard, dir: b.dir, each: max(b.each, 500*time.Millisecond), server: s, floor: b.floor, raw: b.raw, address: s.address}
	if err := registerFleet(b.ctx, s.address); err != nil {
		return err
	}
	registered, err := one.settle(dir, s)
	if err != nil {
		return err
	}
	if s, err = startRegistry(b.ctx, dir); err != nil {
		return err
	}
	one.server, one.address = s, s.address
	if err := one.batches(); err != nil { // an instance's first heartbeat costs more: its stream gets a number
		return err
	}
	before, err := one.settle(dir, s)
	if err != nil {
		return err
	}
	if s, err = startRegistry(b.ctx, dir); err != nil {
		return err
	}
	one.server, one.address = s, s.address
	if err := one.singleHeartbeats(256); err != nil {
		return err
	}
	beats := one.figures[len(one.figures)-1].Value * one.each.Seconds()
	after, err := one.settle(dir, s)
	if err != nil {
		return err
	}
	b.add(figure{Name: "disk, a registration", Value: float64(registered) / benchFleet, Unit: "bytes"})
	b.add(figure{Name: "disk, a heartbeat", Value: float64(after-before) / beats, Unit: "bytes", Goals: []goal{{Of: "value", Max: 48, each: " bytes"}}})
	return nil
}

// settle ends a server, rewrites its tables as the engine would in time, and gives their size.
func (b *bench) settle(dir string, s *child) (int64, error) {
	if err := ignoreExit(s.stop()); err != nil {
		return 0, err
	}
	events := filepath.Join(dir, "events")
	store, err := pebblestore.Open(events, pebblestore.Options{})
	if err != nil {
		return 0, err
	}
	if err := errors.Join(store.Compact(b.ctx), store.Close()); err != nil {
		return 0, err
	}
	return FolderSize(events, ".sst") // the engine's logs and manifests come and go
}

func (b *bench) replay() error {
	began := time.Now()
	resp, err := http.Get("http://" + b.address + "/v1/events")
	if err != nil {
		return err
	}
	events := 0
	for lines := bufio.NewReaderSize(resp.Body, 1<<20); ; events++ {
		if _, err := lines.ReadSlice('\n'); err != nil {
			break
		}
	}
	b.add(figure{Name: "replay over HTTP", Value: float64(events) / time.Since(began).Seconds(), Unit: "events/s", Note: fmt.Sprintf("%d events", events)})
	return resp.Body.Close()
}

// expiry is how late leases are expired that lapse together.
func (b *bench) expiry() error {
	const leases = 10_000
	s, err := startRegistry(b.ctx, filepath.Join(b.dir, "expiry"), "--self-preservation=false")
	if err != nil {
		return err
	}
	defer func() { _ = s.stop() }()
	err = registerMany(b.ctx, s.address, leases, func(i int) (name, body string) {
		return benchName(i), strings.Replace(benchBody(i, 1), `"1h"`, `"3s"`, 1)
	})
	if err != nil {
		return err
	}
	var late []float64
	for deadline := time.Now().Add(30 * time.Second); len(late) < leases && time.Now().Before(deadline); time.Sleep(200 * time.Millisecond) {
		late = late[:0]
		resp, err := http.Get("http://" + s.address + "/v1/events?type=LeaseExpired")
		if err != nil {
			return err
		}
		for lines := bufio.NewScanner(resp.Body); lines.Scan(); {
			var e struct{ Data struct{ Late string } }
			if err := json.Unmarshal(lines.Bytes(), &e); err != nil {
				return err
			}
			d, err := time.ParseDuration(e.Data.Late)
			if err != nil {
				return err
			}
			late = append(late, d.Seconds()*1000)
		}
		if err := resp.Body.Close(); err != nil {
			return err
		}
	}
	if len(late) < leases {
		return fmt.Errorf("only %d of %d leases were expired", len(late), leases)
	}
	slices.Sort(late)
	b.add(figure{Name: "expiry of 10,000 leases that lapse together", Value: late[len(late)-1], Unit: "ms late", P50: late[len(late)/2], P99: late[len(late)*99/100]})
	return nil
}

// rebuild is the rate at which the catalog is made of a fleet's changes, its snapshots written beside.
func (b *bench) rebuild() error {
	dir := filepath.Join(b.dir, "rebuild")
	defer os.RemoveAll(dir)
	if err := SeedChanges(b.ctx, dir, b.sizes.Changes); err != nil {
		return err
	}
	self, err := os.Executable()
	if err != nil {
		return err
	}
	out, err := exec.CommandContext(b.ctx, self, "rebuild", "--only", "catalog", "--data", dir).CombinedOutput()
	if err != nil {
		return fmt.Errorf("rebuild: %w\n%s", err, out)
	}
	return b.rebuilt(out, "catalog", fmt.Sprintf("rebuild of the catalog, %d changes", b.sizes.Changes), b.sizes.Changes, goal{Of: "value", Min: 1e6, each: "/s"})
}

// rebuilt adds the rate that the output of rebuild tells.
func (b *bench) rebuilt(out []byte, what, name string, events int, goals ...goal) error {
	m := regexp.MustCompile(`rebuilt the ` + what + ` up to position \d+ in ([^\s,]+)`).FindSubmatch(out)
	if m == nil {
		return fmt.Errorf("rebuild does not say how long the %s took: %s", what, out)
	}
	took, err := time.ParseDuration(string(m[1]))
	if err != nil {
		return err
	}
	b.add(figure{Name: name, Value: float64(events) / took.Seconds(), Unit: "events/s", Goals: goals})
	return nil
}

// FolderSize is how many bytes the files of a folder take, or only the files with an extension.
func FolderSize(dir, extension string) (size int64, err error) {
	err = filepath.WalkDir(dir, func(_ string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() || extension != "" && filepath.Ext(d.Name()) != extension {
			return err
		}
		info, err := d.Info()
		if err == nil {
			size += info.Size()
		}
		return err
	})
	return size, err
}
