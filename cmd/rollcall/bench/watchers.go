package bench

import (
	"fmt"
	"sync"
	"time"
)

// watchers are the times from sending a change to each subscriber having it: of one subscriber and of a thousand, from changes
// that follow each other at once and from changes 3 ms apart. The next change is sent when all have the one before.
func (b *bench) watchers() error {
	for _, subscribers := range []int{1, 1000} {
		for _, pause := range []time.Duration{0, 3 * time.Millisecond} {
			if err := b.watchersOf(subscribers, pause); err != nil {
				return err
			}
		}
	}
	return nil
}

func (b *bench) watchersOf(subscribers int, pause time.Duration) error {
	w, err := b.watch(fmt.Sprintf("watched-by-%d-%d", subscribers, pause), subscribers)
	if err != nil {
		return err
	}
	defer w.close()
	c, err := dialRaw(b.address)
	if err != nil {
		return err
	}
	defer c.conn.Close()
	var times []time.Duration
	changes := 0
	var own time.Duration // what the client used
	used, err := b.server.use(func() error {
		own = -ownCPU()
		for end := time.Now().Add(b.each); time.Now().Before(end) || changes < 20; changes++ {
			sent := time.Now()
			answered := make(chan error, 1)
			go func() { // the subscribers may be told before the reply comes
				_, _, err := c.do(rawRequest("PUT", "/v1/services/"+w.service+"/instances/a", benchBody(1, changes)))
				answered <- err
			}()
			told, err := w.await(subscribers)
			if err != nil {
				return err
			}
			for _, at := range told {
				times = append(times, at.Sub(sent))
			}
			if err := <-answered; err != nil {
				return err
			}
			time.Sleep(pause)
		}
		own += ownCPU()
		return nil
	})
	if err != nil {
		return err
	}
	name := fmt.Sprintf("registration to %d subscribers, back to back", subscribers)
	if pause > 0 {
		name = fmt.Sprintf("registration to %d subscribers, spaced", subscribers)
	}
	f := waits(name, times)
	f.CPU = float64(used.Microseconds()) / float64(changes*subscribers)
	f.Note = fmt.Sprintf("client: %.1f µs", float64(own.Microseconds())/float64(changes*subscribers))
	b.add(f)
	return nil
}

// large is what users of a service see while the service changes, whatever its size: lookups that follow a change at once, and
// long polls beside one change a second.
func (b *bench) large() error {
	for _, instances := range []int{20, 1_000, 20_000} {
		service := fmt.Sprintf("sized-%d", instances)
		err := registerMany(b.ctx, b.address, instances, func(i int) (name, body string) { return fmt.Sprint(service, "/i", i), benchBody(i, 1) })
		if err != nil {
			return err
		}
		if err := b.lookupsAfterChanges(service, instances); err != nil {
			return err
		}
		if err := b.polls(service, instances); err != nil {
			return err
		}
	}
	return nil
}

// change gives an instance of a service another version.
func change(c *rawConn, service string, i, version int) error {
	_, _, err := c.do(rawRequest("PUT", fmt.Sprintf("/v1/services/%s/instances/i%d", service, i), benchBody(i, version)))
	return err
}

func (b *bench) lookupsAfterChanges(service string, instances int) error {
	c, err := dialRaw(b.address)
	if err != nil {
		return err
	}
	defer c.conn.Close()
	look := rawRequest("GET", "/v1/services/"+service+"/instances", "")
	if _, _, err := c.do(look); err != nil { // the first list is encoded as a whole
		return err
	}
	b.server.rest(b.each)
	var times []time.Duration
	used, err := b.server.use(func() error {
		for end, n := time.Now().Add(b.each), 2; time.Now().Before(end); n++ {
			if err := change(c, service, n%instances, n); err != nil {
				return err
			}
			asked := time.Now()
			if _, _, err := c.do(look); err != nil {
				return err
			}
			times = append(times, time.Since(asked))
		}
		return nil
	})
	if err != nil {
		return err
	}
	f := waits(fmt.Sprintf("lookup of %d instances after a change", instances), times)
	f.CPU = float64(used.Microseconds()) / float64(len(times))
	f.Note = "processor time with the change"
	b.add(f)
	return nil
}

// polls are the times from a change to the replies of 100 long polls.
func (b *bench) polls(service string, instances int) error {
	const pollers = 100
	w := newWatched(service)
	defer w.close()
	var group sync.WaitGroup
	stop := make(chan struct{})
	for range pollers {
		c, err := dialRaw(b.address)
		if err != nil {
			return err
		}
		w.conns = append(w.conns, c.conn)
		group.Go(func() {
			position := ""
			for {
				_, newest, err := c.poll("/v1/services/"+service+"/instances?wait=1m", position)
				select {
				case <-stop:
					return
				default:
				}
				if err != nil {
					w.fail(err)
					return
				}
				position = newest
				w.hear(time.Now(), 1)
			}
		})
	}
	if _, err := w.await(pollers); err != nil { // without an index a poll is answered at once
		return err
	}
	c, err := dialRaw(b.address)
	if err != nil {
		return err
	}
	defer c.conn.Close()
	var times []time.Duration
	changes := max(2, int(b.each/time.Second))
	used, err := b.server.use(func() error {
		for n := range changes {
			time.Sleep(min(time.Second, b.each)) // a second but in the short form
			sent := time.Now()
			if err := change(c, service, n%instances, -n-1); err != nil {
				return err
			}
			told, err := w.await(pollers)
			if err != nil {
				return err
			}
			for _, at := range told {
				times = append(times, at.Sub(sent))
			}
		}
		return nil
	})
	close(stop)
	w.close()
	group.Wait()
	if err != nil {
		return err
	}
	f := waits(fmt.Sprintf("change to %d long polls of %d instances", pollers, instances), times)
	f.CPU = float64(used.Microseconds()) / float64(len(times))
	b.add(f)
	return nil
}
