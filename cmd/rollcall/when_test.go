package main

import (
	"testing"
	"time"

	"github.com/rollcall-registry/rollcall/adapters/client"
)

// Nobody has to know the API's forms of a moment: people write times as they say them.
func TestTimesAreTakenAsPeopleWriteThem(t *testing.T) {
	berlin, err := time.LoadLocation("Europe/Berlin")
	if err != nil {
		t.Skip("this machine has no time zones")
	}
	now := time.Date(2026, 3, 2, 10, 30, 0, 0, berlin) // 09:30 UTC
	for text, want := range map[string]client.Moment{
		"":                              "",
		"now":                           "now",
		"42":                            "42",
		"42-ab12":                       "42-ab12",
		"5m ago":                        "5m0s ago",
		"-5m":                           "5m0s ago",
		"2d ago":                        "48h0m0s ago",
		"1w ago":                        "168h0m0s ago",
		"2 days ago":                    "48h0m0s ago",
		"1 hour 30 minutes ago":         "1h30m0s ago",
		"3 h 5 m ago":                   "3h5m0s ago", // as `why` prints it
		"1.5h ago":                      "1h30m0s ago",
		"500 ms ago":                    "500ms ago",
		"2026-03-01":                    "2026-02-28T23:00:00Z",
		"2026-03-01 03:12":              "2026-03-01T02:12:00Z",
		"2026-03-01T03:12":              "2026-03-01T02:12:00Z",
		"2026-03-01 03:12:05.123":       "2026-03-01T02:12:05.123Z",
		"2026-03-01 03:12:05.123Z":      "2026-03-01T03:12:05.123Z",
		"2026-03-01 03:12Z":             "2026-03-01T03:12:00Z",
		"2026-03-01 03:12:05 UTC":       "2026-03-01T03:12:05Z",
		"2026-03-01T03:12:05Z":          "2026-03-01T03:12:05Z",
		"2026-03-01t03:12:05z":          "2026-03-01T03:12:05Z",
		"2026-03-01T03:12:05+05:30":     "2026-02-28T21:42:05Z",
		"2026-03-01 03:12:05 +0100":     "2026-03-01T02:12:05Z",
		"2026-03-01 03:12-08":           "2026-03-01T11:12:00Z",
		"2026-03-01T03:12:05.1234567Z":  "2026-03-01T03:12:05.1234567Z",
		"2026-07-01 03:12":              "2026-07-01T01:12:00Z", // summer time; the server refuses the future
		"today":                         "2026-03-01T23:00:00Z",
		"today 08:00":                   "2026-03-02T07:00:00Z",
		"yesterday":                     "2026-02-28T23:00:00Z",
		"Yesterday 14:00":               "2026-03-01T13:00:00Z",
		"yesterday at 14:00:30Z":        "2026-03-01T14:00:30Z",
		"03:12":                         "2026-03-02T02:12:00Z",
		"03:12:05.5":                    "2026-03-02T02:12:05.5Z",
		"15:00":                         "2026-03-01T14:00:00Z", // today's has not come yet
		"09:45Z":                        "2026-03-01T09:45:00Z",
		"09:15:01.250Z":                 "2026-03-02T09:15:01.25Z",
		"@1772334720":                   "2026-03-01T03:12:00Z",
		"@1772334720.5":                 "2026-03-01T03:12:00.5Z",
		"Sun, 01 Mar 2026 03:12:00 GMT": "2026-03-01T03:12:00Z",
	} {
		if got, err := parseWhen(text, now); err != nil || got != want {
			t.Errorf("%q is %q, %v; want %q", text, got, err, want)
		}
	}
	for _, text := range []string{"tomorrow", "5 ago", "ago", "-", "m ago", "5x ago", "2026-13-01", "2026-02-30", "2026-03-01X03:12", "25:00", "12:60", "03:12 CET", "@", "@-5", "@12x", "2026", "-1", "yesterdays", "1e9h ago", "99999999w ago", "\x00"} {
		if got, err := parseWhen(text, now); text != "2026" && err == nil {
			t.Errorf("%q is taken for %q", text, got)
		}
	}
}

// A day has 23 or 25 hours where clocks are changed: "yesterday" is the day of the calendar, "1d ago" is 24 hours.
func TestYesterdayIsADayOfTheCalendar(t *testing.T) {
	berlin, err := time.LoadLocation("Europe/Berlin")
	if err != nil {
		t.Skip("this machine has no time zones")
	}
	now := time.Date(2026, 3, 29, 12, 0, 0, 0, berlin) // the day on which clocks go forward
	if got, err := parseWhen("yesterday 12:00", now); err != nil || got != "2026-03-28T11:00:00Z" {
		t.Errorf("yesterday at noon is %s, %v", got, err)
	}
}

// Whatever is written, the answer is a form of the API or an error, and what was understood is understood again.
func FuzzAMomentIsAFormOfTheAPI(f *testing.F) {
	for _, seed := range []string{"5m ago", "-5m", "2026-03-01 03:12", "yesterday 14:00", "03:12", "@1", "7-a", "Sun, 01 Mar 2026 03:12:00 GMT", "1 h 2 m ago"} {
		f.Add(seed)
	}
	now := time.Date(2026, 3, 2, 10, 30, 0, 0, time.UTC)
	f.Fuzz(func(t *testing.T, text string) {
		once, err := parseWhen(text, now)
		if err != nil {
			return
		}
		if again, err := parseWhen(string(once), now); err != nil || again != once {
			t.Errorf("%q is %q, which is %q, %v", text, once, again, err)
		}
	})
}
