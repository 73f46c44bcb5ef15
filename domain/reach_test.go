package domain

import (
	"net/netip"
	"strings"
	"testing"
)

func TestProbesReachTheInstancesOwnAddressAndNetworksThatAreAllowed(t *testing.T) {
	networks := []netip.Prefix{netip.MustParsePrefix("10.1.0.0/16"), netip.MustParsePrefix("fd12::/16"), netip.MustParsePrefix("::ffff:10.2.0.0/112")}
	everything := []netip.Prefix{netip.MustParsePrefix("0.0.0.0/0"), netip.MustParsePrefix("::/0")}
	for _, c := range []struct {
		name  string
		reach Reach
		ip    string
		own   string
		why   string // part of the refusal; "": allowed
	}{
		{"own", Reach{}, "10.0.0.5", "10.0.0.5", ""},
		{"own in another spelling", Reach{}, "::ffff:10.0.0.5", "10.0.0.5", ""},
		{"own public", Reach{}, "93.184.216.34", "93.184.216.34", ""},
		{"own IPv6", Reach{}, "fd00::5", "fd00::5", ""},
		{"another", Reach{}, "10.0.0.6", "10.0.0.5", "neither"},
		{"another, allowed", Reach{Networks: networks}, "10.1.2.3", "10.0.0.5", ""},
		{"another, allowed, in another spelling", Reach{Networks: networks}, "::ffff:10.1.2.3", "10.0.0.5", ""},
		{"allowed in another spelling", Reach{Networks: networks}, "10.2.3.4", "10.0.0.5", ""},
		{"another, outside", Reach{Networks: networks}, "10.3.0.1", "10.0.0.5", "neither"},
		{"another IPv6, allowed", Reach{Networks: networks}, "fd12::1", "10.0.0.5", ""},
		{"own loopback", Reach{Loopback: true}, "127.0.0.1", "127.0.0.1", ""},
		{"own loopback of a registry that others reach", Reach{}, "127.0.0.1", "127.0.0.1", "loopback"},
		{"own IPv6 loopback of a registry that others reach", Reach{}, "::1", "::1", "loopback"},
		{"mapped loopback of a registry that others reach", Reach{}, "::ffff:127.0.0.1", "127.0.0.1", "loopback"},
		{"loopback by network", Reach{Networks: []netip.Prefix{netip.MustParsePrefix("127.0.0.0/8")}}, "127.0.0.9", "10.0.0.5", ""},
		{"another loopback address", Reach{Loopback: true}, "127.0.0.2", "127.0.0.1", "neither"},
		{"zone", Reach{Networks: everything}, "fe80::1%eth0", "10.0.0.5", "zone"},
	} {
		t.Run(c.name, func(t *testing.T) {
			why := c.reach.Refusal(netip.MustParseAddr(c.ip), netip.MustParseAddr(c.own))
			if c.why == "" && why != "" || c.why != "" && !strings.Contains(why, c.why) {
				t.Errorf("%s for an instance at %s: %q, want %q", c.ip, c.own, why, c.why)
			}
		})
	}
}

func TestSomeAddressesAreNeverProbed(t *testing.T) {
	open := Reach{Networks: []netip.Prefix{netip.MustParsePrefix("0.0.0.0/0"), netip.MustParsePrefix("::/0")}, Loopback: true}
	for _, ip := range []string{
		"169.254.169.254", "169.254.170.2", "169.254.0.1", "fd00:ec2::254", "fd00:ec2::23", "fd20:ce::254", "100.100.100.200", "168.63.129.16", "192.0.0.192",
		"fe80::1", "0.0.0.0", "0.1.2.3", "::", "224.0.0.1", "239.255.255.250", "ff02::1", "255.255.255.255", "240.0.0.1",
		"::ffff:169.254.169.254", "64:ff9b::a9fe:a9fe", "64:ff9b:1::a9fe:a9fe", "2002:a9fe:a9fe::1", "::a9fe:a9fe", "::ffff:0.0.0.0", "::ffff:100.100.100.200",
	} {
		addr := netip.MustParseAddr(ip)
		if why := open.Refusal(addr, addr); !strings.Contains(why, "never probed") {
			t.Errorf("%s: %q", ip, why)
		}
	}
	for _, ip := range []string{"::1", "127.0.0.1", "1.1.1.1", "2606:4700::1111", "100.100.100.201"} {
		if why := open.Refusal(netip.MustParseAddr(ip)); why != "" {
			t.Errorf("%s: %q", ip, why)
		}
	}
}

func TestATargetIsRefusedByItsFieldAtTheRegistration(t *testing.T) {
	for _, c := range []struct {
		host, address string
		refused       bool
	}{
		{"10.0.0.5", "10.0.0.5", false},
		{"[fd00::5]", "fd00::5", false},
		{"10.0.0.6", "10.0.0.5", true},
		{"169.254.169.254", "169.254.169.254", true},
		{"169.254.169.254", "web-1.internal", true},
		{"10.0.0.6", "web-1.internal", false},
		{"web-1.internal", "10.0.0.5", false},
		{"0x7f.1", "10.0.0.5", true},
		{"2130706433", "10.0.0.5", true},
		{"", "10.0.0.5", true},
	} {
		err := Reach{}.Target("checks[0].url", c.host, c.address)
		invalid, ok := err.(InvalidField)
		if c.refused != (err != nil) || err != nil && (!ok || invalid.Field != "checks[0].url") {
			t.Errorf("%q of %q: %v", c.host, c.address, err)
		}
	}
}

func TestTheTargetsOfChecksAreHeldToTheRule(t *testing.T) {
	own := []Check{
		{Kind: CheckTTL}, {Kind: CheckHTTP, URL: "http://10.0.0.5:8080/health"}, {Kind: CheckTCP, Port: "db"}, {Kind: CheckGRPC, Target: "10.0.0.5:9000"},
		{Kind: CheckHTTP, URL: "https://web.internal"},
	}
	if err := (Reach{}).Targets("checks[%d].", own, "10.0.0.5"); err != nil {
		t.Error(err)
	}
	for field, c := range map[string]Check{
		"checks[1].url":    {Kind: CheckHTTP, URL: "http://10.0.0.6/"},
		"checks[1].target": {Kind: CheckTCP, Target: "[fd00::1]:1"},
	} {
		err, ok := (Reach{}).Targets("checks[%d].", []Check{own[0], c}, "10.0.0.5").(InvalidField)
		if !ok || err.Field != field {
			t.Errorf("%+v: %v", c, err)
		}
	}
	if err, ok := (Reach{}).Targets("", []Check{{Kind: CheckTCP, Port: "db"}}, "127.0.0.1").(InvalidField); !ok || err.Field != "port" {
		t.Errorf("a port of a loopback address: %v", err)
	}
}
