package main

import (
	"bufio"
	"bytes"
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/valyala/fasthttp"
	clientv3 "go.etcd.io/etcd/client/v3"
)

// bench measures both clusters by turns.
type bench struct {
	ctx            context.Context
	etcd, rollcall *servers
	alone          *servers // a node of Rollcall without a cluster
	callers        int
	length         time.Duration
	rounds         int
	only           *regexp.Regexp // names of the measurements to make
	profile        string
}

// op does the nth operation of a caller.
type op func(caller, n int) error

// figure is what was measured.
type figure struct {
	rate     float64 // operations a second
	p50, p99 time.Duration
	cost     cost    // of all servers, for an operation
	cores    float64 // of all servers
}

// load runs callers. pace is how many operations a second all callers start together; 0: each as fast as it can. An
// operation counts as weight.
func (b *bench) load(servers *servers, callers int, pace float64, weight int, do op) (f figure, err error) {
	var mu sync.Mutex
	var took []time.Duration
	var group sync.WaitGroup
	before, began := servers.cost(), time.Now()
	ends := began.Add(b.length)
	if pace > 0 {
		ends = began.Add(5 * b.length) // in a short time there would be a collection of memory in one round and none in the next
	}
	for caller := range callers {
		group.Go(func() {
			var own []time.Duration
			for n := 0; time.Now().Before(ends) && b.ctx.Err() == nil; n++ {
				if pace > 0 {
					due := began.Add(time.Duration(float64(n*callers+caller) / pace * float64(time.Second)))
					time.Sleep(time.Until(due))
				}
				at := time.Now()
				if failed := do(caller, n); failed != nil {
					mu.Lock()
					err = failed
					mu.Unlock()
					return
				}
				own = append(own, time.Since(at))
			}
			mu.Lock()
			took = append(took, own...)
			mu.Unlock()
		})
	}
	group.Wait()
	spent := time.Since(began)
	after := servers.cost()
	if err != nil || len(took) == 0 {
		return f, fmt.Errorf("after %d operations: %w", len(took), err)
	}
	slices.Sort(took)
	done := len(took) * weight
	return figure{float64(done) / spent.Seconds(), took[len(took)/2], took[len(took)*99/100], after.per(done, before), (after.cpu - before.cpu).Seconds() / spent.Seconds()}, nil
}

// conn is a plain connection over which one caller asks. It uses the memory of its requests and replies again, so that the servers
// have the processors.
type conn struct {
	net.Conn
	r       *bufio.Reader
	request []byte
	reply   fasthttp.Response
}

func dial(address string) (*conn, error) {
	c, err := net.Dial("tcp", address)
	if err != nil {
		return nil, err
	}
	return &conn{Conn: c, r: bufio.NewReader(c)}, nil
}

// ask sends a request and reads the reply.
func (c *conn) ask(method, path, body string) error {
	c.request = append(append(append(append(c.request[:0], method...), ' '), path...), " HTTP/1.1\r\nHost: 127.0.0.1\r\n"...)
	if body != "" {
		c.request = append(c.request, "Content-Type: application/json\r\n"...)
	}
	if method != http.MethodGet {
		c.request = append(strconv.AppendInt(append(c.request, "Content-Length: "...), int64(len(body)), 10), "\r\n"...)
	}
	c.request = append(append(c.request, "\r\n"...), body...)
	if _, err := c.Write(c.request); err != nil {
		return err
	}
	if err := c.reply.Read(c.r); err != nil {
		return err
	}
	if status := c.reply.StatusCode(); status >= 300 || bytes.Contains(c.reply.Body(), []byte(`"failed":[{`)) {
		return fmt.Errorf("%s %s: %d: %.200s", method, path, status, c.reply.Body())
	}
	return nil
}

// plain gives each caller a connection to one of the addresses.
func plain(callers int, addresses []string, do func(c *conn, caller, n int) error) (op, error) {
	conns := make([]*conn, callers)
	for i := range conns {
		c, err := dial(addresses[i%len(addresses)])
		if err != nil {
			return nil, err
		}
		conns[i] = c
	}
	return func(caller, n int) error { return do(conns[caller], caller, n) }, nil
}

// client gives all callers etcd's client.
func (b *bench) client(addresses []string, do func(c *clientv3.Client, caller, n int) error) (op, error) {
	c, err := clientv3.New(clientv3.Config{Endpoints: addresses, DialTimeout: 30 * time.Second})
	return func(caller, n int) error { return do(c, caller, n) }, err
}

// profiles saves a profile of each node of Rollcall while a measurement runs.
func (b *bench) profiles(name string) (wait func()) {
	var group sync.WaitGroup
	for i, address := range b.rollcall.debug {
		if b.profile == "" {
			break
		}
		group.Go(func() {
			resp, err := http.Get(fmt.Sprintf("http://%s/debug/pprof/profile?seconds=%d", address, max(int(b.length.Seconds())-1, 1)))
			if err != nil {
				return
			}
			defer resp.Body.Close()
			content, _ := io.ReadAll(resp.Body)
			role := "follower"
			if i == b.rollcall.leader {
				role = "leader"
			}
			_ = os.WriteFile(filepath.Join(b.profile, fmt.Sprintf("%s-%s-n%d.pprof", strings.ReplaceAll(name, " ", "-"), role, i)), content, 0o644)
		})
	}
	return group.Wait
}
