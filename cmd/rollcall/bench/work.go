package bench

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strconv"
	"strings"
	"time"
)

func floor204(connections int) string {
	return fmt.Sprintf("floor: bare 204, %d connections", connections)
}

func (b *bench) floors() error {
	for _, connections := range []int{64, 256, 1024} {
		request := rawRequest("PUT", "/204", "")
		if err := b.measure(figure{Name: floor204(connections)}, b.floor, b.floor.address, connections, 1, func(int, int) []byte { return request }); err != nil {
			return err
		}
	}
	request := rawRequest("GET", "/bytes/4096", "")
	if err := b.measure(figure{Name: "floor: bare 4 KiB, 256 connections"}, b.floor, b.floor.address, 256, 1, func(int, int) []byte { return request }); err != nil {
		return err
	}
	for _, events := range []int{1, 100, 1000} {
		callers := 256
		if events > 1 {
			callers = 16
		}
		rate, err := fileLog(b.dir, callers, events, b.each)
		if err != nil {
			return err
		}
		b.add(figure{Name: fmt.Sprintf("floor: file log, %d × %d events", callers, events), Value: rate, Unit: "events/s"})
	}
	return nil
}

const benchFleet = 10_000 // instances that workloads touch, 20 a service

func benchName(i int) string { return fmt.Sprintf("bench-%d/i%d", i%500, i) }

func benchPath(i int) string {
	return "/v1/services/" + strings.Replace(benchName(i), "/", "/instances/", 1)
}

func benchBody(i, version int) string { return "{" + string(appendDetails(nil, i, version)) + "}" }

// appendDetails appends the fields of a registration. The client has the same cores as the server, so it does not use fmt, which takes twenty
// times as long.
func appendDetails(b []byte, i, version int) []byte {
	b = appendNumber(b, `"address":"10.0.`, i/256%256)
	b = appendNumber(b, `.`, i%256)
	b = appendNumber(b, `","ports":{"http":8080},"tags":["canary"],"metadata":{"team":"shop"},"zone":"eu-1a","version":"`, version)
	return append(b, `","ttl":"1h"`...)
}

func appendNumber(b []byte, text string, n int) []byte {
	return strconv.AppendInt(append(b, text...), int64(n), 10)
}

// registerFleet registers the instances that workloads touch.
func registerFleet(ctx context.Context, address string) error {
	return registerMany(ctx, address, benchFleet, func(i int) (name, body string) { return benchName(i), benchBody(i, 1) })
}

// registerMany registers instances by batches. of gives an instance's service/id and details.
func registerMany(ctx context.Context, address string, n int, of func(i int) (name, body string)) error {
	const batch = 2000
	for from := 0; from < n; from += batch {
		var items []string
		for i := from; i < min(n, from+batch); i++ {
			name, body := of(i)
			service, id, _ := strings.Cut(name, "/")
			items = append(items, fmt.Sprintf(`{"type":"RegisterInstance","service":%q,"id":%q,%s`, service, id, body[1:]))
		}
		r, err := http.NewRequestWithContext(ctx, http.MethodPost, "http://"+address+"/v1/commands", strings.NewReader("["+strings.Join(items, ",")+"]"))
		if err != nil {
			return err
		}
		resp, err := http.DefaultClient.Do(r)
		if err != nil {
			return err
		}
		_, err = io.Copy(io.Discard, resp.Body)
		if resp.StatusCode != http.StatusOK {
			err = errors.Join(err, fmt.Errorf("a batch was answered %s", resp.Status))
		}
		if err := errors.Join(err, resp.Body.Close()); err != nil {
			return err
		}
	}
	return nil
}

func (b *bench) registrations() error {
	for _, connections := range []int{64, 1024} {
		of := "" // the figures of 64 connections are as old as the benchmark
		if connections != 64 {
			of = fmt.Sprintf(", %d connections", connections)
		}
		err := b.measure(figure{Name: "registrations, new" + of, Floor: floor204(connections)}, b.server, b.address, connections, 1, func(c, n int) []byte {
			i := n*connections + c
			return rawRequest("PUT", fmt.Sprintf("/v1/services/fresh-%d-%d/instances/i%d", connections, i%500, i), benchBody(i, 1))
		})
		if err != nil {
			return err
		}
		err = b.measure(figure{Name: "registrations, repeated" + of, Floor: floor204(connections)}, b.server, b.address, connections, 1, func(c, n int) []byte {
			i := (n*connections + c) % benchFleet
			return rawRequest("PUT", benchPath(i), benchBody(i, 1))
		})
		if err != nil {
			return err
		}
	}
	return b.registrationBatches()
}

// registrationBatches are new instances in batches, as an import or the start of a large fleet sends them.
func (b *bench) registrationBatches() error {
	const connections, size = 16, 500
	f := figure{Name: fmt.Sprintf("registrations, new, in batches of %d", size)}
	var bodies, requests [connections][]byte // of the last batch of each connection, whose memory the next one takes
	return b.measure(f, b.server, b.address, connections, size, func(c, n int) []byte {
		body := append(bodies[c][:0], '[')
		for k := range size {
			body = appendItem(body, (n*connections+c)*size+k)
			body = append(body, ',')
		}
		body[len(body)-1] = ']'
		bodies[c] = body
		requests[c] = append(fmt.Appendf(requests[c][:0], "POST /v1/commands HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n", len(body)), body...)
		return requests[c]
	})
}

// appendItem appends the command that registers an instance of a batch.
func appendItem(b []byte, i int) []byte {
	b = appendNumber(b, `{"type":"RegisterInstance","service":"batched-`, i%500)
	b = appendNumber(b, `","id":"i`, i)
	return append(appendDetails(append(b, `",`...), i, 1), '}')
}

func (b *bench) heartbeats() error {
	for _, connections := range []int{64, 256, 1024} {
		if err := b.singleHeartbeats(connections); err != nil {
			return err
		}
	}
	return nil
}

func (b *bench) singleHeartbeats(connections int) error {
	requests := make([][]byte, benchFleet)
	for i := range requests {
		requests[i] = rawRequest("PUT", benchPath(i)+"/heartbeat", "")
	}
	f := figure{Name: fmt.Sprintf("heartbeats, %d connections", connections)}
	if connections == 256 {
		f.Goals = []goal{{Of: "ratio", Min: 0.7}, {Of: "raw_ratio", Min: 0.8}, {Of: "server_cpu_ratio", Max: 1.5}}
	}
	return b.measureBeside(b.bare(connections, rawRequest("PUT", "/204", "")), f, b.server, b.address, connections, 1, func(c, n int) []byte { return requests[(n*connections+c)%benchFleet] })
}

// idle measures heartbeats and lookups beside connections that sent one request and then nothing, as those of many clients do.
func (b *bench) idle() error {
	n := b.sizes.Idle
	conns := make([]*rawConn, 0, n)
	defer func() {
		for _, c := range conns {
			_ = c.conn.Close()
		}
	}()
	for i := range n {
		c, err := dialBuffered(b.address, 256)
		if err != nil {
			return fmt.Errorf("connection %d: %w", i, err)
		}
		conns = append(conns, c)
		if _, _, err := c.do(rawRequest("PUT", benchPath(i%benchFleet)+"/heartbeat", "")); err != nil {
			return err
		}
	}
	return b.on(b.server, fmt.Sprintf(", beside %d idle connections", n), func(beside *bench) error {
		return errors.Join(beside.singleHeartbeats(256), beside.lookup("bench-7", benchFleet/500))
	})
}

func (b *bench) batches() error {
	for _, one := range []struct {
		size   int
		listed bool // results: the client and the agent ask for a minimal reply
	}{{100, false}, {100, true}, {1000, false}} {
		const connections = 16
		size, name, headers := one.size, fmt.Sprintf("heartbeats in batches of %d", one.size), []string{"Prefer: return=minimal"}
		if one.listed {
			name, headers = name+", results listed", nil
		}
		requests := make([][]byte, benchFleet/size)
		for j := range requests {
			names := make([]string, size)
			for k := range names {
				names[k] = benchName(j*size + k)
			}
			body, err := json.Marshal(names)
			if err != nil {
				return err
			}
			requests[j] = rawRequest("POST", "/v1/heartbeats", string(body), headers...)
		}
		f := figure{Name: name}
		floor := func(d time.Duration) (rate, cpu float64, err error) {
			rate, err = fileLog(b.dir, connections, size, d)
			return rate, 0, err
		}
		if size == 1000 {
			f.Goals = []goal{{Of: "ratio", Min: 0.6}}
		}
		if err := b.measureBeside(map[string]beside{floorBeside: floor}, f, b.server, b.address, connections, size, func(c, n int) []byte { return requests[(n*connections+c)%len(requests)] }); err != nil {
			return err
		}
	}
	return nil
}

func (b *bench) lookups() error {
	err := registerMany(b.ctx, b.address, 1000, func(i int) (name, body string) { return fmt.Sprint("large/i", i), benchBody(i, 1) })
	if err != nil {
		return err
	}
	if err := b.lookup("bench-7", benchFleet/500, goal{Of: "ratio", Min: 0.85}, goal{Of: "raw_ratio", Min: 0.8}); err != nil {
		return err
	}
	return b.lookup("large", 1000)
}

// lookup measures lookups of a service beside a bare handler that sends as many bytes.
func (b *bench) lookup(service string, instances int, goals ...goal) error {
	path := "/v1/services/" + service + "/instances"
	resp, err := http.Get("http://" + b.address + path)
	if err != nil {
		return err
	}
	size, err := io.Copy(io.Discard, resp.Body)
	if err := errors.Join(err, resp.Body.Close()); err != nil {
		return err
	}
	plain, known := rawRequest("GET", path, ""), rawRequest("GET", path, "", "If-None-Match: "+resp.Header.Get("ETag"))
	name := fmt.Sprintf("lookup of %d instances", instances)
	same := b.bare(256, rawRequest("GET", fmt.Sprint("/bytes/", size), ""))
	err = b.measureBeside(same, figure{Name: fmt.Sprintf("%s (%d bytes)", name, size), Goals: goals}, b.server, b.address, 256, 1, func(int, int) []byte { return plain })
	if err != nil {
		return err
	}
	ready := rawRequest("GET", path+"?ready=true", "")
	return errors.Join(
		b.measure(figure{Name: name + ", unchanged", Floor: floor204(256)}, b.server, b.address, 256, 1, func(int, int) []byte { return known }),
		b.measure(figure{Name: name + ", of those that are ready"}, b.server, b.address, 256, 1, func(int, int) []byte { return ready }))
}

func (b *bench) mixed() error {
	return b.measure(figure{Name: "mixed: 90 heartbeats, 9 lookups, 1 registration", Floor: floor204(256)}, b.server, b.address, 256, 1, func(c, n int) []byte {
		i := (n*257 + c*41) % benchFleet
		switch kind := (n + c) % 100; {
		case kind == 0:
			return rawRequest("PUT", benchPath(i), benchBody(i, n))
		case kind < 10:
			return rawRequest("GET", fmt.Sprintf("/v1/services/bench-%d/instances", i%500), "")
		}
		return rawRequest("PUT", benchPath(i)+"/heartbeat", "")
	})
}

// history asks for the newest entries of instances.
func (b *bench) history() error {
	return b.measure(figure{Name: "history of an instance, 10 newest entries", Floor: floor204(64)}, b.server, b.address, 64, 1, func(c, n int) []byte {
		return rawRequest("GET", benchPath((n*64+c)*7%benchFleet)+"/history?limit=10", "")
	})
}
