package webhooks_test

import (
	"errors"
	"strings"
	"testing"

	"github.com/rollcall-registry/rollcall/adapters/webhooks"
	"github.com/rollcall-registry/rollcall/domain"
)

// The rule is a function of the text: no test of it looks a name up or dials.
func TestTargetsOutsideThePublicInternetAreRefused(t *testing.T) {
	for _, host := range []string{
		// IPv4: the first and the last address of each block
		"0.0.0.0", "0.255.255.255", "10.0.0.0", "10.255.255.255", "100.64.0.0", "100.127.255.255", "127.0.0.0", "127.0.0.1", "127.255.255.255",
		"169.254.0.0", "169.254.169.254", "169.254.255.255", "172.16.0.0", "172.31.255.255", "192.0.0.0", "192.0.0.255", "192.0.2.0", "192.0.2.255",
		"192.31.196.1", "192.52.193.1", "192.88.99.1", "192.168.0.0", "192.168.255.255", "192.175.48.1", "198.18.0.0", "198.19.255.255",
		"198.51.100.0", "198.51.100.255", "203.0.113.0", "203.0.113.255", "224.0.0.0", "239.255.255.255", "240.0.0.0", "255.255.255.254", "255.255.255.255",
		// IPv6
		"::", "::1", "fe80::1", "fe80::1%25eth0", "febf::1", "fec0::1", "feff::1", "fc00::1", "fd00::1", "fdff:ffff::1", "ff00::1", "ff02::1", "ff0e::1",
		"100::1", "100:0:0:1::1", "5f00::1", "4000::1", "1fff::1", "2001::1", "2001:0:1::1", "2001:2::1", "2001:10::1", "2001:20::1", "2001:1ff:ffff::1",
		"2001:db8::1", "2002::1", "2002:7f00:1::", "2002:5db8:d822::1", "2620:4f:8000::1", "3fff::1", "3fff:fff::1", "64:ff9b:1::1", "64:ff9b:1:ffff::1",
		// IPv4 addresses inside IPv6 addresses
		"::127.0.0.1", "::10.0.0.1", "::93.184.216.34", "::ffff:127.0.0.1", "::ffff:10.0.0.1", "::ffff:7f00:1", "::ffff:93.184.216.34", "::ffff:0:127.0.0.1",
		"64:ff9b::127.0.0.1", "64:ff9b::7f00:1", "64:ff9b::10.1.2.3", "64:ff9b::192.168.0.1", "64:ff9b::169.254.169.254", "64:ff9b::0.0.0.0", "64:ff9b::255.255.255.255",
		// names of this machine, and old spellings of addresses
		"localhost", "LOCALHOST", "localhost.", "x.localhost", "x.Localhost.", "127.0.0.1.", "127.1", "2130706433", "0x7f000001", "0X7f.1", "0177.0.0.1", "127.0.0.0x1",
	} {
		for _, u := range []string{url(host, ""), url(host, ":8080")} {
			if err := webhooks.CheckURL(u, false); !errors.As(err, new(domain.InvalidField)) {
				t.Errorf("%s: %v", u, err)
			}
			if err := webhooks.CheckURL(u, true); err != nil {
				t.Errorf("%s, allowed: %v", u, err)
			}
		}
	}
}

func TestTargetsInThePublicInternetAreTaken(t *testing.T) {
	for _, host := range []string{
		"example.com", "example.com.", "localhost.example.com", "notlocalhost", "x.0xg", "93.184.216.34",
		// right beside what is refused
		"1.0.0.0", "9.255.255.255", "11.0.0.0", "100.63.255.255", "100.128.0.0", "126.255.255.255", "128.0.0.0", "169.253.255.255", "169.255.0.0",
		"172.15.255.255", "172.32.0.0", "191.255.255.255", "192.0.1.0", "192.0.3.0", "192.167.255.255", "192.169.0.0", "198.17.255.255", "198.20.0.0",
		"198.51.99.255", "198.51.101.0", "203.0.112.255", "203.0.114.0", "223.255.255.255",
		"2000::1", "2001:200::1", "2001:db7::1", "2001:db9::1", "2001:ffff::1", "2003::1", "2606:2800:220:1::1", "2620:4f:7fff::1", "2620:4f:8001::1", "3ffe::1", "3fff:1000::1",
		"64:ff9b::93.184.216.34", "64:ff9b::5db8:d822",
	} {
		for _, u := range []string{url(host, ""), url(host, ":8080")} {
			if err := webhooks.CheckURL(u, false); err != nil {
				t.Errorf("%s: %v", u, err)
			}
		}
	}
}

// url has the host in brackets where it is IPv6.
func url(host, port string) string {
	if strings.Contains(host, ":") {
		host = "[" + host + "]"
	}
	return "http://" + host + port + "/hook"
}
