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
)

// InstanceOf picks what is probed of an instance: its checks whose target can be told. Checks of a ttl are left out.
func InstanceOf(i domain.Instance) Instance {
	probed := Instance{Key: i.Key, Epoch: i.Epoch, Address: i.Details.Address}
	for _, c := range i.Details.Checks {
		state, known := i.Check(c.ID)
		target, ok := TargetOf(c, i.Details)
		if !known || !ok {
			continue
		}
		probed.Checks = append(probed.Checks, Check{
			ID: c.ID, Revision: state.Revision, Target: target, Interval: time.Duration(c.Interval), Failures: c.Failures, Successes: c.Successes, Status: state.Status,
		})
	}
	return probed
}

// TargetOf is what a check looks at. false: the check is not probed, or its port is none of the instance's.
func TargetOf(c domain.Check, d domain.Details) (t Target, ok bool) {
	t = Target{Timeout: time.Duration(c.Timeout), TLS: c.TLS}
	switch c.Kind {
	case domain.CheckHTTP:
		t.Kind = HTTP
		u, err := url.Parse(c.URL)
		ok = err == nil && t.SetURL(u)
	case domain.CheckTCP:
		t.Kind = TCP
		ok = t.setPlace(c, d)
	case domain.CheckGRPC:
		t.Kind, t.Path = GRPC, c.GRPCService
		ok = t.setPlace(c, d)
	}
	t.Extra = extraOf(c)
	return t, ok
}

// setPlace sets host and port: those of the check's target, or of a port of the instance.
func (t *Target) setPlace(c domain.Check, d domain.Details) bool {
	if c.Target == "" {
		t.Host, t.Port = strings.Trim(d.Address, "[]"), d.Ports[c.Port]
		return t.Port > 0
	}
	host, port, err := net.SplitHostPort(c.Target)
	if err != nil {
		return false
	}
	n, err := strconv.ParseUint(port, 10, 16)
	t.Host, t.Port = strings.ToLower(host), uint16(n)
	return err == nil && n > 0
}

// extraOf is what few checks have; nil: the check has nothing of it.
func extraOf(c domain.Check) *Extra {
	e := &Extra{Method: c.Method, Body: c.Body, Statuses: c.ExpectedStatuses, Redirects: c.FollowRedirects, ServerName: c.TLSServerName, Unverified: c.TLSSkipVerify}
	for _, name := range slices.Sorted(maps.Keys(c.Headers)) {
		e.Headers = append(e.Headers, [2]string{name, c.Headers[name]})
	}
	if e.equal(plainExtra) {
		return nil
	}
	return e
}
