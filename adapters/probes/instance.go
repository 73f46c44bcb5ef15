package probes

import (
	"maps"
	"net"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/rollcall-registry/rollcall/domain"
	"github.com/rollcall-registry/rollcall/queries"
)

// InstanceOf makes the targets of an instance's checks. The target of a check whose port the instance does not
// have has the port 0: a look at it fails.
func InstanceOf(i queries.ProbedInstance) Instance {
	probed := Instance{Key: i.Key, Epoch: i.Epoch, Address: i.Address, Checks: make([]Check, 0, len(i.Checks))}
	for _, c := range i.Checks {
		target, ok := TargetOf(c.Check, i.Address, i.Ports)
		if !ok {
			continue
		}
		probed.Checks = append(probed.Checks, Check{
			ID: c.Check.ID, Revision: c.Revision, Target: target, Interval: time.Duration(c.Check.Interval),
			Failures: c.Check.Failures, Successes: c.Check.Successes, Status: c.Status,
		})
	}
	return probed
}

// TargetOf is what a check of an instance with that address and those ports looks at. The port of a target is 0 if the
// instance lacks the port that the check names. false: the check is not probed.
func TargetOf(c domain.Check, address string, ports map[string]uint16) (t Target, ok bool) {
	t = Target{Timeout: time.Duration(c.Timeout), TLS: c.TLS}
	switch c.Kind {
	case domain.CheckHTTP:
		t.Kind = HTTP
		u, err := url.Parse(c.URL)
		ok = err == nil && t.SetURL(u)
	case domain.CheckTCP:
		t.Kind = TCP
		ok = t.setPlace(c, address, ports)
	case domain.CheckGRPC:
		t.Kind, t.Path = GRPC, c.GRPCService
		ok = t.setPlace(c, address, ports)
	}
	t.Extra = extraOf(c)
	return t, ok
}

// setPlace sets host and port: those of the check's target, or of a port of the instance.
func (t *Target) setPlace(c domain.Check, address string, ports map[string]uint16) bool {
	if c.Target == "" {
		t.Host, t.Port = ownHost(address), ports[c.Port]
		return true
	}
	host, port, err := net.SplitHostPort(c.Target)
	if err != nil {
		return false
	}
	n, err := strconv.ParseUint(port, 10, 16)
	t.Host, t.Port = strings.ToLower(host), uint16(n)
	return err == nil && n > 0
}

// ownHost is an instance's address in the form that the host of a target has.
func ownHost(address string) string { return strings.ToLower(strings.Trim(address, "[]")) }

// extraOf is what few checks have; nil: the check has nothing of it.
func extraOf(c domain.Check) *Extra {
	e := &Extra{Method: c.Method, Body: c.Body, Statuses: c.ExpectedStatuses, Warnings: c.WarningStatuses, Redirects: c.FollowRedirects, ServerName: c.TLSServerName, Unverified: c.TLSSkipVerify}
	for _, name := range slices.Sorted(maps.Keys(c.Headers)) {
		e.Headers = append(e.Headers, [2]string{name, c.Headers[name]})
	}
	if e.equal(plainExtra) {
		return nil
	}
	return e
}
