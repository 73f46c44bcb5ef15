package main

import (
	"github.com/spf13/pflag"

	"github.com/rollcall-registry/rollcall/adapters/web"
	"github.com/rollcall-registry/rollcall/domain"
)

// trusting says which proxies pass requests on, and how they name the source of a request.
type trusting struct {
	networks []string
	header   string // any, forwarded or x-forwarded-for
	protocol bool   // their connections begin with a PROXY header
}

func (t *trusting) flags(f *pflag.FlagSet) {
	f.StringSliceVar(&t.networks, "trusted-proxy", nil, "take the source of a request from this network (or address) from its headers Forwarded or X-Forwarded-For; may be given again")
	f.StringVar(&t.header, "trusted-proxy-header", "any", "the header that the trusted proxies write: forwarded, x-forwarded-for, or any")
	f.BoolVar(&t.protocol, "proxy-protocol", false, "connections of the trusted proxies begin with a header of the PROXY protocol, version 2")
}

func (t *trusting) any() bool { return len(t.networks) > 0 }

// proxies are the trusted proxies; nil: there are none.
func (t *trusting) proxies() (*web.Proxies, error) {
	if t.protocol && !t.any() {
		return nil, domain.InvalidField{Field: "proxy-protocol", Rule: "must come with --trusted-proxy: the header of anybody else is not believed"}
	}
	return web.NewProxies(t.networks, t.header)
}

// onConnections are the proxies whose connections begin with a PROXY header; nil: none do.
func (t *trusting) onConnections(all *web.Proxies) *web.Proxies {
	if !t.protocol {
		return nil
	}
	return all
}
