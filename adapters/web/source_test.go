package web

import (
	"net/http"
	"strings"
	"testing"
)

func TestTheSourceIsWhatTheNewestUntrustedNodeIs(t *testing.T) {
	trusted := []string{"10.0.0.0/8", "127.0.0.1", "fd00::/8"}
	for name, c := range map[string]struct {
		peer, header string // of the proxies
		headers      []string
		want         string
	}{
		"nobody in between":                      {"192.0.2.7:5", "any", nil, "192.0.2.7:5"},
		"a client that makes the headers up":     {"192.0.2.7:5", "any", []string{"X-Forwarded-For: 127.0.0.1", "Forwarded: for=127.0.0.1"}, "192.0.2.7:5"},
		"a proxy that asks for itself":           {"10.0.0.1:5", "any", nil, "10.0.0.1:5"},
		"one proxy":                              {"10.0.0.1:5", "any", []string{"X-Forwarded-For: 192.0.2.7"}, "192.0.2.7"},
		"one proxy on this machine":              {"127.0.0.1:5", "any", []string{"X-Forwarded-For: 192.0.2.7"}, "192.0.2.7"},
		"a proxy that is not trusted":            {"127.0.0.2:5", "any", []string{"X-Forwarded-For: 192.0.2.7"}, "127.0.0.2:5"},
		"a client that made an address up":       {"10.0.0.1:5", "any", []string{"X-Forwarded-For: 127.0.0.1, 192.0.2.7"}, "192.0.2.7"},
		"in a line of its own":                   {"10.0.0.1:5", "any", []string{"X-Forwarded-For: 127.0.0.1", "X-Forwarded-For: 192.0.2.7"}, "192.0.2.7"},
		"two proxies":                            {"10.0.0.1:5", "any", []string{"X-Forwarded-For: 1.1.1.1, 192.0.2.7, 10.9.9.9"}, "192.0.2.7"},
		"two proxies in lines":                   {"10.0.0.1:5", "any", []string{"X-Forwarded-For: 1.1.1.1, 192.0.2.7", "X-Forwarded-For: 10.9.9.9,10.3.3.3"}, "192.0.2.7"},
		"proxies only":                           {"10.0.0.1:5", "any", []string{"X-Forwarded-For: 10.9.9.9, 10.8.8.8"}, "10.9.9.9"},
		"with a port":                            {"10.0.0.1:5", "any", []string{"X-Forwarded-For: 192.0.2.7:99"}, "192.0.2.7"},
		"IPv6":                                   {"[fd00::1]:5", "any", []string{"X-Forwarded-For: 2001:DB8::7"}, "2001:db8::7"},
		"IPv6 in brackets":                       {"[fd00::1]:5", "any", []string{"X-Forwarded-For: [2001:db8::7]"}, "2001:db8::7"},
		"IPv6 with a port":                       {"[fd00::1]:5", "any", []string{"X-Forwarded-For: [2001:db8::7]:99"}, "2001:db8::7"},
		"IPv4 in IPv6":                           {"[::ffff:10.0.0.1]:5", "any", []string{"X-Forwarded-For: ::ffff:192.0.2.7"}, "192.0.2.7"},
		"no address":                             {"10.0.0.1:5", "any", []string{"X-Forwarded-For: 192.0.2.7, localhost"}, "unknown"},
		"nothing":                                {"10.0.0.1:5", "any", []string{"X-Forwarded-For: "}, "unknown"},
		"an end without an address":              {"10.0.0.1:5", "any", []string{"X-Forwarded-For: 192.0.2.7,"}, "unknown"},
		"Forwarded":                              {"10.0.0.1:5", "any", []string{"Forwarded: for=192.0.2.7"}, "192.0.2.7"},
		"Forwarded with more":                    {"10.0.0.1:5", "any", []string{`forwarded: by=_edge; FOR="192.0.2.7:80" ;proto=https;host="a,b;c"`}, "192.0.2.7"},
		"Forwarded in IPv6":                      {"10.0.0.1:5", "any", []string{`Forwarded: For="[2001:db8:cafe::17]:4711"`}, "2001:db8:cafe::17"},
		"Forwarded in IPv6 without quotes":       {"10.0.0.1:5", "any", []string{`Forwarded: for=[2001:db8::17]`}, "2001:db8::17"},
		"Forwarded with escapes":                 {"10.0.0.1:5", "any", []string{`Forwarded: for="192.0\.2.7"`}, "192.0.2.7"},
		"Forwarded by two":                       {"10.0.0.1:5", "any", []string{`Forwarded: for=127.0.0.1, for=192.0.2.7;proto=http, for=10.2.2.2`}, "192.0.2.7"},
		"Forwarded by two in lines":              {"10.0.0.1:5", "any", []string{`Forwarded: for=127.0.0.1, for=192.0.2.7`, `Forwarded: for=10.2.2.2`}, "192.0.2.7"},
		"a hidden node":                          {"10.0.0.1:5", "any", []string{`Forwarded: for=127.0.0.1, for=_SEVKISEK`}, "_SEVKISEK"},
		"a hidden node with a port":              {"10.0.0.1:5", "any", []string{`Forwarded: for="_gazonk:_p"`}, "_gazonk"},
		"a hidden node behind a proxy":           {"10.0.0.1:5", "any", []string{`Forwarded: for=1.1.1.1, for=_x.y-z, for=10.2.2.2`}, "_x.y-z"},
		"an unknown node":                        {"10.0.0.1:5", "any", []string{`Forwarded: for=127.0.0.1, for=unknown`}, "unknown"},
		"a name that is no name":                 {"10.0.0.1:5", "any", []string{`Forwarded: for="_a b"`}, "unknown"},
		"a long name":                            {"10.0.0.1:5", "any", []string{`Forwarded: for=_` + strings.Repeat("a", 200)}, "unknown"},
		"an element without a node":              {"10.0.0.1:5", "any", []string{`Forwarded: for=127.0.0.1, proto=https`}, "unknown"},
		"two nodes in an element":                {"10.0.0.1:5", "any", []string{`Forwarded: for=127.0.0.1;for=192.0.2.7`}, "unknown"},
		"a quote that swallows the proxy's word": {"10.0.0.1:5", "any", []string{`Forwarded: for=127.0.0.1, for=127.0.0.1;x=", for=192.0.2.7`}, "unknown"},
		"a malformed line before the proxy's":    {"10.0.0.1:5", "any", []string{`Forwarded: for=127.0.0.1;x="`, `Forwarded: for=192.0.2.7`}, "192.0.2.7"},
		"a malformed pair":                       {"10.0.0.1:5", "any", []string{`Forwarded: for`}, "unknown"},
		"both headers agree":                     {"10.0.0.1:5", "any", []string{`Forwarded: for=192.0.2.7`, "X-Forwarded-For: 192.0.2.7"}, "192.0.2.7"},
		"both headers disagree":                  {"10.0.0.1:5", "any", []string{`Forwarded: for=127.0.0.1`, "X-Forwarded-For: 192.0.2.7"}, "unknown"},
		"the proxies write the other":            {"10.0.0.1:5", "x-forwarded-for", []string{`Forwarded: for=127.0.0.1`, "X-Forwarded-For: 192.0.2.7"}, "192.0.2.7"},
		"the proxies write Forwarded":            {"10.0.0.1:5", "forwarded", []string{`Forwarded: for=192.0.2.7`, "X-Forwarded-For: 127.0.0.1"}, "192.0.2.7"},
		"the proxies write neither":              {"10.0.0.1:5", "forwarded", []string{"X-Forwarded-For: 127.0.0.1"}, "10.0.0.1:5"},
		"a PROXY header that says nothing":       {"unknown", "any", []string{"X-Forwarded-For: 127.0.0.1"}, "unknown"},
	} {
		t.Run(name, func(t *testing.T) {
			p, err := NewProxies(trusted, c.header)
			if err != nil {
				t.Fatal(err)
			}
			r := &http.Request{RemoteAddr: c.peer, Header: http.Header{}}
			for _, h := range c.headers {
				name, value, _ := strings.Cut(h, ":")
				r.Header.Add(name, strings.TrimSpace(value))
			}
			if got := p.source(r); got != c.want {
				t.Errorf("the source is %q, want %q", got, c.want)
			}
		})
	}
}

func TestNetworksOfProxiesMustBeNetworks(t *testing.T) {
	for _, network := range []string{"", "x", "10.0.0.0/33", "10.0.0", "fe80::1%eth0", "10.0.0.1/8/8"} {
		if _, err := NewProxies([]string{network}, "any"); err == nil {
			t.Errorf("%q is taken", network)
		}
	}
	if _, err := NewProxies([]string{"10.0.0.0/8"}, "x-real-ip"); err == nil {
		t.Error("another header is taken")
	}
}

// FuzzForwarded looks that no line makes the parser read behind its end, and that a line without quotes is split at its commas.
func FuzzForwarded(f *testing.F) {
	for _, line := range []string{"", "for=a", `for="[::1]:8";by=x, for=b`, `for="\`, ",;,", "for=", `for="a"b`} {
		f.Add(line)
	}
	f.Fuzz(func(t *testing.T, line string) {
		nodes, ok := forwardedNodes(line)
		if ok && !strings.Contains(line, `"`) && len(nodes) != strings.Count(line, ",")+1 {
			t.Errorf("%q has the nodes %q", line, nodes)
		}
	})
}
