package webhooks

import (
	"net/http"
	"testing"
	"time"
)

func TestATargetMayAskForALongerPause(t *testing.T) {
	now := time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)
	in := func(d time.Duration) string { return now.Add(d).Format(http.TimeFormat) }
	for name, c := range map[string]struct {
		status      int
		after, date string
		want        time.Duration
	}{
		"seconds":                   {503, "120", "", 2 * time.Minute},
		"seconds of a limit":        {429, "7", "", 7 * time.Second},
		"nothing":                   {503, "", "", 0},
		"at once":                   {503, "0", "", 0},
		"a day":                     {503, "86400", "", time.Hour},
		"a number out of range":     {503, "99999999999999999999999", "", time.Hour},
		"a number near the range":   {503, "9223372036854775807", "", time.Hour},
		"less than nothing":         {503, "-5", "", 0},
		"a fraction":                {503, "1.5", "", 0},
		"words":                     {503, "soon", "", 0},
		"a time":                    {503, in(30 * time.Second), "", 30 * time.Second},
		"a time by another clock":   {503, in(-time.Hour), in(-time.Hour - time.Minute), time.Minute},
		"a time beside a bad clock": {503, in(30 * time.Second), "today", 30 * time.Second},
		"a time in the past":        {503, in(-time.Hour), "", 0},
		"a time in a year":          {503, in(365 * 24 * time.Hour), "", time.Hour},
		"the end of time":           {503, "Fri, 31 Dec 9999 23:59:59 GMT", "Sat, 01 Jan 0001 00:00:00 GMT", time.Hour},
		"another failure":           {500, "120", "", 0},
		"a redirect":                {301, "120", "", 0},
	} {
		header := http.Header{"Retry-After": {c.after}, "Date": {c.date}}
		if got := retryAfter(c.status, header, now); got != c.want {
			t.Errorf("%s: %s, want %s", name, got, c.want)
		}
	}
}
