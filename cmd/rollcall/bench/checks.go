package bench

import (
	"bufio"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"path/filepath"
	"slices"
	"sync"
	"time"

	"github.com/rollcall-registry/rollcall/domain"
)

// passed is the metric of looks that were passed.
const passed = `rollcall_probes_total{kind="http",result="passed"}`

// fullChecks is how many checks the full benchmark has.
const fullChecks = 50_000

// checks is what checks take that the registry itself makes: at rest, and when many fail together.
func (b *bench) checks() error {
	t, err := startTargets(b.ctx)
	if err != nil {
		return err
	}
	defer func() { _ = t.stop() }()
	return errors.Join(b.restingChecks(t), b.failingChecks(t))
}

// restingChecks is what the whole server takes whose checks all pass.
func (b *bench) restingChecks(t *targets) error {
	n, every := b.sizes.Checks, b.sizes.CheckEvery
	s, err := startRegistry(b.ctx, filepath.Join(b.dir, "checks"))
	if err != nil {
		return err
	}
	defer func() { _ = s.stop() }()
	soon := s.watchMemory()
	err = registerMany(b.ctx, s.address, n, func(i int) (name, body string) {
		return fmt.Sprintf("checked-%d/i%d", i%500, i), t.registration(i, "/health", every)
	})
	if err == nil {
		err = await(s.address, passed, func(looks float64) bool { return looks >= float64(n) })
	}
	time.Sleep(every / 2)
	first := soon()
	if err != nil {
		return err
	}
	time.Sleep(every)
	before, _ := metric(s.address, passed)
	later := s.watchMemory()
	span := max(every, b.each)
	began := time.Now()
	used, _ := s.use(func() error { time.Sleep(span); return nil })
	took := time.Since(began)
	memory := later()
	after, _ := metric(s.address, passed)
	name := fmt.Sprintf("%d checks every %s", n, every)
	b.add(figure{Name: name + ", cores of the server", Value: used.Seconds() / took.Seconds(), Unit: "cores", Goals: b.ofFullSize(goal{Of: "value", Max: 1, each: " core"}),
		Note: fmt.Sprintf("%.0f looks a second", (after-before)/took.Seconds())})
	const mb = 1e6
	b.add(figure{Name: name + ", resident, while they are registered", Value: float64(first) / mb, Unit: "MB at most"})
	b.add(figure{Name: name + ", resident, later", Value: float64(memory) / mb, Unit: "MB at most", Goals: b.ofFullSize(goal{Of: "value", Max: 200, each: " MB"})})
	return nil
}

// ofFullSize are goals of the full benchmark; a quick one has less to do, which proves nothing.
func (b *bench) ofFullSize(goals ...goal) []goal {
	if b.sizes.Checks < fullChecks {
		return nil
	}
	return goals
}

// failingChecks is how long it takes until many checks that fail together are critical in the log, and what heartbeats wait
// meanwhile, compared with those beside checks that pass.
func (b *bench) failingChecks(t *targets) error {
	n, every := b.sizes.FailingChecks, max(b.sizes.CheckEvery/5, time.Second)
	s, err := startRegistry(b.ctx, filepath.Join(b.dir, "failing"))
	if err != nil {
		return err
	}
	defer func() { _ = s.stop() }()
	err = registerFleet(b.ctx, s.address)
	if err == nil {
		err = registerMany(b.ctx, s.address, n, func(i int) (name, body string) {
			return fmt.Sprintf("checked-%d/i%d", i%500, i), t.registration(i, "/turning", every)
		})
	}
	if err == nil {
		err = await(s.address, passed, func(looks float64) bool { return looks >= float64(n) })
	}
	if err != nil {
		return err
	}
	beats, err := startPaced(s.address)
	if err != nil {
		return err
	}
	defer beats.stop()
	const critical = `rollcall_checks{kind="http",status="critical"}`
	var resting, beside, late []time.Duration
	rounds := turns
	if b.sizes.Checks < fullChecks {
		rounds = 1
	}
	for range rounds {
		time.Sleep(every) // what the turn before left to do
		beats.take()
		time.Sleep(max(every, b.each/turns))
		resting = append(resting, beats.take()...)
		turned := time.Now()
		if err := t.turn(http.StatusInternalServerError); err != nil {
			return err
		}
		if err := await(s.address, critical, func(now float64) bool { return now == float64(n) }); err != nil {
			return err
		}
		beside = append(beside, beats.take()...)
		last, err := lastCritical(s.address)
		if err != nil {
			return err
		}
		late = append(late, last.Sub(turned))
		if err := t.turn(http.StatusOK); err != nil {
			return err
		}
		if err := await(s.address, critical, func(now float64) bool { return now == 0 }); err != nil {
			return err
		}
	}
	if err := beats.failed(); err != nil {
		return err
	}
	name := fmt.Sprintf("%d checks that fail together", n)
	b.add(figure{Name: name + ", all in the log", Value: slices.Max(late).Seconds(), Unit: "s at most", Goals: b.ofFullSize(goal{Of: "value", Max: every.Seconds() + 2, each: " s"}),
		Note: fmt.Sprintf("after the targets turned; each check is looked at within %s", every)})
	atRest := waits(fmt.Sprintf("heartbeats beside %d checks that pass", n), resting)
	b.add(atRest)
	f := waits("heartbeats beside "+name, beside)
	f.Value, f.Unit = over(f.P99, atRest.P99), "of p99 at rest"
	f.Goals = b.ofFullSize(goal{Of: "value", Max: 3})
	b.add(f)
	return nil
}

// await waits until a metric of the server is as wanted.
func await(address, name string, wanted func(float64) bool) error {
	var v float64
	for deadline := time.Now().Add(2 * time.Minute); time.Now().Before(deadline); time.Sleep(100 * time.Millisecond) {
		var ok bool
		if v, ok = metric(address, name); ok && wanted(v) {
			return nil
		}
	}
	return fmt.Errorf("%s stays %v", name, v)
}

// lastCritical is when the newest change of a check to critical was recorded.
func lastCritical(address string) (last time.Time, err error) {
	resp, err := http.Get("http://" + address + "/v1/events?type=CheckChanged")
	if err != nil {
		return last, err
	}
	defer resp.Body.Close()
	lines := bufio.NewScanner(resp.Body)
	for lines.Scan() {
		var e struct {
			RecordedAt time.Time `json:"recorded_at"`
			Data       struct{ To domain.Status }
		}
		if err := json.Unmarshal(lines.Bytes(), &e); err != nil {
			return last, err
		}
		if e.Data.To == domain.Critical {
			last = e.RecordedAt
		}
	}
	return last, lines.Err()
}

// watchMemory samples the process's memory until the result is called, which gives the most that was resident; 0: the system
// does not say.
func (c *child) watchMemory() func() int64 {
	stop, result := make(chan struct{}), make(chan int64)
	go func() {
		most := int64(0)
		for {
			now, _ := c.resident()
			most = max(most, now)
			select {
			case <-stop:
				result <- most
				return
			case <-time.After(20 * time.Millisecond):
			}
		}
	}()
	return func() int64 {
		close(stop)
		return <-result
	}
}

// paced are heartbeats at a steady rate, which a server with time to spare takes easily: how long they wait is how long it
// makes them wait.
type paced struct {
	conns []*rawConn
	ended chan struct{} // closed by stop
	group sync.WaitGroup

	mu    sync.Mutex
	waits []time.Duration
	err   error
}

func startPaced(address string) (*paced, error) {
	const connections, pace = 16, 10 * time.Millisecond
	p := &paced{ended: make(chan struct{})}
	for range connections {
		c, err := dialRaw(address)
		if err != nil {
			p.stop()
			return nil, err
		}
		p.conns = append(p.conns, c)
	}
	for i, c := range p.conns {
		p.group.Go(func() {
			t := time.NewTicker(pace)
			defer t.Stop()
			for n := i; ; n += connections {
				select {
				case <-p.ended:
					return
				case <-t.C:
				}
				request := rawRequest("PUT", benchPath(n%benchFleet)+"/heartbeat", "")
				sent := time.Now()
				status, _, err := c.do(request)
				if err == nil && status >= 300 {
					err = fmt.Errorf("a heartbeat was answered %d", status)
				}
				p.mu.Lock()
				p.waits, p.err = append(p.waits, time.Since(sent)), errors.Join(p.err, err)
				p.mu.Unlock()
				if err != nil {
					return
				}
			}
		})
	}
	return p, nil
}

// take gives how long heartbeats waited since it was called last.
func (p *paced) take() []time.Duration {
	p.mu.Lock()
	defer p.mu.Unlock()
	waits := p.waits
	p.waits = nil
	return waits
}

func (p *paced) failed() error {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.err
}

func (p *paced) stop() {
	close(p.ended)
	p.group.Wait()
	for _, c := range p.conns {
		_ = c.conn.Close()
	}
}
