package bench

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"net"
	"slices"
	"strconv"
	"sync"
	"time"
)

// rawConn is an HTTP/1.1 connection that costs the client as little as can be: it sends requests as they
// are and reads of a reply the status and how long its body is.
type rawConn struct {
	conn net.Conn
	r    *bufio.Reader
}

func dialRaw(address string) (*rawConn, error) { return dialBuffered(address, 16<<10) }

func dialBuffered(address string, buffer int) (*rawConn, error) {
	c, err := net.Dial("tcp", address)
	if err != nil {
		return nil, err
	}
	return &rawConn{c, bufio.NewReaderSize(c, buffer)}, nil
}

// do sends a request and returns the reply's status and the bytes of its body.
func (c *rawConn) do(request []byte) (status, size int, err error) {
	if _, err := c.conn.Write(request); err != nil {
		return 0, 0, err
	}
	return c.hear(nil)
}

// poll sends a long poll for what comes after a position ("": for what there is), and gives the reply's position.
func (c *rawConn) poll(path, position string) (status int, newest string, err error) {
	if position != "" {
		path += "&index=" + position
	}
	if _, err := c.conn.Write(rawRequest("GET", path, "")); err != nil {
		return 0, "", err
	}
	status, _, err = c.hear(func(name, value []byte) {
		if bytes.EqualFold(name, []byte("rollcall-position")) {
			newest = string(value)
		}
	})
	return status, newest, err
}

// hear reads a reply. header is given each header; nil: nobody asks.
func (c *rawConn) hear(header func(name, value []byte)) (status, size int, err error) {
	line, err := c.r.ReadSlice('\n')
	if err != nil || len(line) < 12 {
		return 0, 0, errors.Join(err, errors.New("no status line"))
	}
	status, err = strconv.Atoi(string(line[9:12]))
	if err != nil {
		return 0, 0, err
	}
	for {
		if line, err = c.r.ReadSlice('\n'); err != nil {
			return status, 0, err
		}
		if len(line) <= 2 {
			break
		}
		name, value, ok := bytes.Cut(line, []byte{':'})
		if ok && header != nil {
			header(name, bytes.TrimSpace(value))
		}
		if ok && bytes.EqualFold(name, []byte("content-length")) {
			if size, err = strconv.Atoi(string(bytes.TrimSpace(value))); err != nil {
				return status, 0, err
			}
		}
	}
	_, err = c.r.Discard(size)
	return status, size, err
}

// rawRequest is a request's bytes.
func rawRequest(method, path, body string, headers ...string) []byte {
	var b bytes.Buffer
	fmt.Fprintf(&b, "%s %s HTTP/1.1\r\nHost: localhost\r\n", method, path)
	for _, h := range headers {
		b.WriteString(h + "\r\n")
	}
	if body != "" || method == "POST" || method == "PUT" {
		fmt.Fprintf(&b, "Content-Type: application/json\r\nContent-Length: %d\r\n", len(body))
	}
	b.WriteString("\r\n" + body)
	return b.Bytes()
}

// load is what came of sending requests for a while.
type load struct {
	requests  int
	refused   int // replies that were neither 2xx nor 304
	elapsed   time.Duration
	latencies []time.Duration // sorted
}

func (l *load) perSecond() float64 { return float64(l.requests) / l.elapsed.Seconds() }

func (l *load) at(q float64) time.Duration {
	if len(l.latencies) == 0 {
		return 0
	}
	return l.latencies[int(q*float64(len(l.latencies)-1))]
}

// blast sends requests over a number of connections for a duration. A connection sends the next request when the last one
// is answered.
func blast(address string, connections int, d time.Duration, next func(connection, n int) []byte) (*load, error) {
	conns := make([]*rawConn, connections)
	buffer := 16 << 10
	if connections <= 16 { // those of batches, whose replies are long: a read costs both processes' time
		buffer = 128 << 10
	}
	for i := range conns {
		var err error
		if conns[i], err = dialBuffered(address, buffer); err != nil {
			return nil, err
		}
		defer conns[i].conn.Close()
	}
	parts := make([]load, connections)
	errs := make([]error, connections)
	began := time.Now()
	end := began.Add(d)
	var group sync.WaitGroup
	for i, c := range conns {
		group.Go(func() {
			p := &parts[i]
			for n := 0; ; n++ {
				sent := time.Now()
				if sent.After(end) {
					return
				}
				status, _, err := c.do(next(i, n))
				if err != nil {
					errs[i] = err
					return
				}
				p.requests++
				if status >= 300 && status != 304 {
					p.refused++
				}
				if n%8 == 0 { // enough to tell the distribution
					p.latencies = append(p.latencies, time.Since(sent))
				}
			}
		})
	}
	group.Wait()
	all := &load{elapsed: time.Since(began)}
	for i := range parts {
		all.requests += parts[i].requests
		all.refused += parts[i].refused
		all.latencies = append(all.latencies, parts[i].latencies...)
	}
	slices.Sort(all.latencies)
	for _, err := range errs { // one says it all
		if err != nil {
			return all, err
		}
	}
	return all, nil
}
