package httpapi_test

import (
	"fmt"
	"net/url"
	"strings"
	"testing"
)

// A number in a parameter or a header is written in decimal digits, as the registry writes it, and in no other form.
func TestNumbersInParametersAreDecimalDigits(t *testing.T) {
	s := start(t)
	s.send("PUT", a1, `{"address":"10.0.0.5"}`).want(t, 201)
	const report, timeline = "/v1/reports/services/checkout?from=1h%20ago", "/v1/timeline/services/checkout?from=1h%20ago"
	for path, field := range map[string]string{
		"/v1/history?limit=": "limit", "/v1/diff?from=0&limit=": "limit", lookup + "?limit=": "limit", "/v1/services?limit=": "limit", "/v1/catalog?limit=": "limit",
		"/v1/webhooks?limit=": "limit", "/v1/checkpoint/leaves?limit=": "limit", "/v1/checkpoint/leaves?from=": "from", timeline + "&limit=": "limit",
		report + "&below=": "below", "/v1/histogram?from=1h%20ago&buckets=": "buckets", "/v1/proofs/inclusion?position=1&size=": "size", "/v1/proofs/consistency?from=": "from",
		lookup + "?max_silence=": "max_silence", "/v1/catalog?at=": "at", "/v1/history?from=": "from", lookup + "?after=": "after", lookup + "?wait=0s&index=": "index",
	} {
		for _, text := range []string{"+1", " 1", "1 ", "01", "001", "0x1", "1_0", "１", "١", "1\n", "--1", "1,0", ".1", "1.", "∞", "Inf", "NaN"} {
			t.Run(fmt.Sprintf("%s%q", path, text), func(t *testing.T) {
				s.send("GET", path+url.QueryEscape(text), "").problem(t, 422, "invalid-field", field)
			})
		}
	}
	for _, text := range []string{"+1", "01", "0x1", "1_0", "1e0", "", " 1", "1 "} {
		s.send("DELETE", a1+"?epoch="+url.QueryEscape(text), "").problem(t, 422, "invalid-field", "epoch")
	}
	for _, match := range []string{`"+0"`, `"00"`, `"01"`, `"0x0"`, `""0""`, `"0`, `0"`, `W/"0"`, `" 0"`, `+0`} {
		s.send("PUT", a1+"/heartbeat", "", "If-Match", match).problem(t, 422, "invalid-field", "If-Match")
	}
	for _, match := range []string{`"0"`, `0`} {
		s.send("PUT", a1+"/heartbeat", "", "If-Match", match).want(t, 200)
	}
	s.send("GET", a1, "").want(t, 200)
	s.send("GET", "/v1/history?limit=10", "").want(t, 200)
	for _, text := range []string{"0", "0.5", "1e400"} {
		s.send("GET", lookup+"?max_silence="+text, "").problem(t, 422, "invalid-field", "max_silence")
	}
	for _, text := range []string{"1", "1.50", "1000000", "1e300"} {
		s.send("GET", lookup+"?max_silence="+text, "").want(t, 200)
	}
}

// A length of time has no sign: not in a parameter, and not in a body.
func TestDurationsHaveNoSign(t *testing.T) {
	s := start(t)
	for _, text := range []string{"+1s", "-1s", "-0s", "+0s", " 1s", "1", "1 s", "0x1s", "1_0s", "s", "١s"} {
		s.send("GET", lookup+"?index=0&wait="+url.QueryEscape(text), "").problem(t, 422, "invalid-field", "wait")
		if !strings.Contains(text, " ") {
			s.send("GET", lookup+"?at="+url.QueryEscape(text+" ago"), "").problem(t, 422, "invalid-field", "at")
		}
		s.send("PUT", a1, fmt.Sprintf(`{"address":"10.0.0.5","ttl":%q}`, text)).problem(t, 422, "invalid-field", "ttl")
		s.send("PUT", a1, fmt.Sprintf(`{"tags":["a\u0062"],"address":"10.0.0.5","ttl":%q}`, text)).problem(t, 422, "invalid-field", "ttl") // read by the JSON library
		s.send("PUT", a1, fmt.Sprintf(`{"address":"10.0.0.5","checks":[{"id":"a","kind":"ttl","ttl":%q}]}`, text)).problem(t, 422, "invalid-field", "checks[0].ttl")
	}
}

// A time is one of RFC 3339: what Go reads besides is none.
func TestTimesAreThoseOfRFC3339(t *testing.T) {
	s := start(t)
	s.send("PUT", a1, `{"address":"10.0.0.5"}`).want(t, 201)
	for _, text := range []string{
		"2026-03-01T3:12:00Z", "2026-03-01T03:12:00,5Z", "2026-03-01T03:12:00+24:00", "2026-03-01T03:12:00+01:60", "2026-03-01T24:00:00Z", "2026-02-30T03:12:00Z",
		"2026-03-01 03:12:00Z", "2026-03-01T03:12Z", "2026-03-01T03:12:00", "26-03-01T03:12:00Z", "2026-03-01T03:12:60Z", "+2026-03-01T03:12:00Z",
	} {
		s.send("GET", "/v1/catalog?at="+url.QueryEscape(text), "").problem(t, 422, "invalid-field", "at")
	}
	for _, text := range []string{"2026-03-01T03:12:00Z", "2026-03-01T03:12:00.123456789+05:30", "2026-03-01T03:12:00-00:00"} {
		s.send("GET", "/v1/catalog?at="+url.QueryEscape(text), "").want(t, 200)
	}
}
