package main

import (
	"github.com/spf13/pflag"

	"github.com/rollcall-registry/rollcall/adapters/web"
	"github.com/rollcall-registry/rollcall/domain"
	"github.com/rollcall-registry/rollcall/queries"
)

// limits is how much each caller may ask for in a second: a number (0: any number), or auto.
type limits struct {
	requests, heartbeats, mib string // "": auto
}

const auto = "auto"

// What auto means where others than this machine reach the registry. A pipeline that registers 10,000 instances in one
// batch comes through, and so does a proxy that renews 100,000 leases every 10 s.
const (
	usualRequests   = 2_000
	usualHeartbeats = 20_000
	usualMiB        = 64
)

func (l *limits) flags(f *pflag.FlagSet) {
	f.StringVar(&l.requests, "limit-requests", auto, "requests a second of a caller, where each command of a batch counts; 0: any number; auto: 2000, and any number on a loopback address")
	f.StringVar(&l.heartbeats, "limit-heartbeats", auto, "heartbeats of known instances a second of a caller; 0: any number; auto: 20000, and any number on a loopback address")
	f.StringVar(&l.mib, "limit-mib", auto, "MiB a second of a caller, in bodies of requests and replies; 0: any number; auto: 64, and any number on a loopback address")
}

// perSecond are the limits of a server that is reached from this machine alone, or by others, too.
func (l *limits) perSecond(alone bool) (map[web.Limit]float64, error) {
	all := map[web.Limit]float64{}
	for _, s := range []struct {
		flag, value string
		limit       web.Limit
		unit, usual float64
	}{
		{"limit-requests", l.requests, web.Requests, 1, usualRequests},
		{"limit-heartbeats", l.heartbeats, web.Heartbeats, 1, usualHeartbeats},
		{"limit-mib", l.mib, web.Bytes, 1 << 20, usualMiB},
	} {
		amount := s.usual
		switch {
		case s.value != "" && s.value != auto:
			var err error
			if amount, err = queries.ParseDecimal(s.value); err != nil || amount != 0 && (amount < 0.01 || amount > 1e9) {
				return nil, domain.InvalidField{Field: s.flag, Rule: "must be auto, 0, or a number between 0.01 and 1e9"}
			}
		case alone:
			amount = 0
		}
		all[s.limit] = amount * s.unit
	}
	return all, nil
}
