package main

import (
	"context"
	"fmt"
	"net/netip"
	"net/url"
	"strings"
	"sync"
	"time"

	"github.com/rollcall-registry/rollcall/adapters/agent"
	"github.com/rollcall-registry/rollcall/adapters/probes"
	"github.com/rollcall-registry/rollcall/domain"
)

// localLook looks at what checks of this machine's instances name. Whoever names them may reach every network, because he
// may run programs on this machine; but a target such as a cloud's metadata address stays refused.
func localLook() (look agent.Look, done func()) {
	looker := probes.NewLooker(probes.LookerOptions{Now: time.Now, Reach: domain.Reach{
		Loopback: true, Networks: []netip.Prefix{netip.MustParsePrefix("0.0.0.0/0"), netip.MustParsePrefix("::/0")},
	}})
	buffers := sync.Pool{New: func() any { return new([4 << 10]byte) }}
	return func(ctx context.Context, c domain.Check, d domain.Details) (domain.Status, string) {
		target, ok := probes.TargetOf(c, d.Address, d.Ports)
		if !ok {
			return domain.Critical, "the check " + c.ID + " has no target: the instance lacks the port"
		}
		buffer := buffers.Get().(*[4 << 10]byte)
		defer buffers.Put(buffer)
		f := looker.Look(ctx, &target, d.Address, buffer[:])
		switch {
		case f.Passed:
			return domain.Passing, target.Words(f)
		case f.Warned:
			return domain.Warning, target.Words(f)
		}
		return domain.Critical, target.Words(f)
	}, looker.Close
}

// parseCheck reads a check as a command line names it: an http or https URL, tcp://host:port, grpc://host:port/service, or
// a path, which stands for http on the instance's port http or only port.
func parseCheck(text string, d domain.Details, interval, timeout time.Duration) (domain.Check, error) {
	c := domain.Check{ID: "check", Interval: domain.Duration(interval), Timeout: domain.Duration(timeout)}
	u, err := url.Parse(text)
	if err != nil {
		return c, fmt.Errorf("check %q: %w", text, err)
	}
	switch {
	case strings.HasPrefix(text, "/"):
		port, ok := d.Ports["http"]
		if !ok && len(d.Ports) == 1 {
			for _, port = range d.Ports {
				ok = true
			}
		}
		if !ok {
			return c, fmt.Errorf("check %q: a path needs a port named http, or only one port", text)
		}
		host := d.Address
		if strings.Contains(host, ":") && !strings.HasPrefix(host, "[") {
			host = "[" + host + "]"
		}
		c.Kind, c.URL = domain.CheckHTTP, fmt.Sprintf("http://%s:%d%s", host, port, text)
	case u.Scheme == "http" || u.Scheme == "https":
		c.Kind, c.URL = domain.CheckHTTP, text
	case u.Scheme == "tcp" && u.Path == "":
		c.Kind, c.Target = domain.CheckTCP, u.Host
	case u.Scheme == "grpc":
		c.Kind, c.Target, c.GRPCService = domain.CheckGRPC, u.Host, strings.TrimPrefix(u.Path, "/")
	default:
		return c, fmt.Errorf("check %q: must be like /healthz, http://127.0.0.1:8080/healthz, tcp://127.0.0.1:5432 or grpc://127.0.0.1:9090", text)
	}
	return c, nil
}
