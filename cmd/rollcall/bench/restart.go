package bench

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"time"
)

// restarts is the time from starting a server until its first right answer, its memory then and after every instance has sent
// heartbeats, and the rates at which its projections are made anew.
func (b *bench) restarts() error {
	for _, instances := range b.sizes.Restarts {
		if err := b.restart(instances); err != nil {
			return err
		}
	}
	return nil
}

func (b *bench) restart(instances int) error {
	dir := filepath.Join(b.dir, fmt.Sprint("restart-", instances))
	defer os.RemoveAll(dir)
	if err := seedInstances(b.ctx, dir, instances); err != nil {
		return err
	}
	self, err := os.Executable()
	if err != nil {
		return err
	}
	out, err := exec.CommandContext(b.ctx, self, "rebuild", "--data", dir).CombinedOutput()
	if err != nil {
		return fmt.Errorf("rebuild: %w\n%s", err, out)
	}
	for _, what := range []string{"catalog", "history"} {
		if err := b.rebuilt(out, what, fmt.Sprintf("rebuild of the %s, %d registrations", what, instances), instances); err != nil {
			return err
		}
	}
	began := time.Now()
	s, err := startRegistry(b.ctx, dir)
	if err != nil {
		return err
	}
	defer func() { _ = s.stop() }()
	last := seedKey(instances - 1)
	resp, err := http.Get(fmt.Sprintf("http://%s/v1/services/%s/instances/%s", s.address, last.Service, last.ID))
	took := time.Since(began)
	if err != nil {
		return err
	}
	if err := resp.Body.Close(); err != nil || resp.StatusCode != http.StatusOK {
		return errors.Join(err, fmt.Errorf("after the restart the last instance is %s", resp.Status))
	}
	f := figure{Name: fmt.Sprintf("restart with %d instances", instances), Value: took.Seconds() * 1000, Unit: "ms"}
	if used, ok := s.cpu(); ok {
		f.Note = fmt.Sprintf("%d ms of processor time", used.Milliseconds())
	}
	switch instances {
	case 100_000:
		f.Goals = []goal{{Of: "value", Max: 250, each: " ms"}}
	case 1_000_000:
		f.Goals = []goal{{Of: "value", Max: 1000, each: " ms"}}
	}
	b.add(f)
	b.memory(s, instances, "", 0)
	if instances > b.sizes.Beating {
		return nil
	}
	if err := b.heartbeatAll(s, instances); err != nil {
		return err
	}
	b.memory(s, instances, " that heartbeat", 400)
	return nil
}

// memory adds a figure of what the server has resident, an instance. The goal is one of a million instances; 0: there is none.
func (b *bench) memory(s *child, instances int, which string, atMost float64) {
	rss, ok := s.resident()
	if !ok {
		return
	}
	f := figure{Name: fmt.Sprintf("memory of %d instances%s, resident", instances, which), Value: float64(rss) / float64(instances), Unit: "bytes each"}
	if instances == 1_000_000 && atMost > 0 {
		f.Goals = []goal{{Of: "value", Max: atMost, each: " bytes"}}
	}
	b.add(f)
}

// heartbeatAll sends heartbeats of every seeded instance in batches, and waits until the server has followed them.
func (b *bench) heartbeatAll(s *child, instances int) error {
	const rounds, batch = 3, 1000
	used, err := s.use(func() error {
		for range rounds {
			for from := 0; from < instances; from += batch {
				if err := b.heartbeatSome(s.address, from, min(from+batch, instances)); err != nil {
					return err
				}
			}
		}
		return b.followed(s)
	})
	if err != nil {
		return err
	}
	s.rest(10 * time.Second)
	name := fmt.Sprintf("%d heartbeats of each of %d instances after the restart", rounds, instances)
	b.add(figure{Name: name, Value: used.Seconds() * 1e6 / float64(rounds*instances), Unit: "µs each", Note: "of processor time, with what follows the log"})
	return nil
}

// heartbeatSome sends one batch of heartbeats of seeded instances.
func (b *bench) heartbeatSome(address string, from, to int) error {
	names := make([]string, 0, to-from)
	for i := from; i < to; i++ {
		key := seedKey(i)
		names = append(names, key.Service+"/"+key.ID)
	}
	body, err := json.Marshal(names)
	if err != nil {
		return err
	}
	r, err := http.NewRequestWithContext(b.ctx, http.MethodPost, "http://"+address+"/v1/heartbeats", strings.NewReader(string(body)))
	if err != nil {
		return err
	}
	r.Header.Set("Content-Type", "application/json")
	resp, err := http.DefaultClient.Do(r)
	if err != nil {
		return err
	}
	var outcome struct{ Succeeded []struct{} }
	err = json.NewDecoder(resp.Body).Decode(&outcome)
	_, _ = io.Copy(io.Discard, resp.Body)
	if err := errors.Join(err, resp.Body.Close()); err != nil {
		return err
	}
	if kept := len(outcome.Succeeded); kept != to-from {
		return fmt.Errorf("%d of %d heartbeats were kept", kept, to-from)
	}
	return nil
}

// followed waits until the server's history is level with its events.
func (b *bench) followed(s *child) error {
	for {
		behind, ok := metric(s.address, "rollcall_history_lag_events")
		switch {
		case !ok || b.ctx.Err() != nil:
			return errors.Join(b.ctx.Err(), errors.New("the server does not say how far its history is"))
		case behind == 0:
			return nil
		}
		time.Sleep(200 * time.Millisecond)
	}
}
