package main

import (
	"errors"
	"net/http"
	"regexp"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/pflag"

	"github.com/rollcall-registry/rollcall/adapters/client"
	"github.com/rollcall-registry/rollcall/queries/wire"
)

// The API takes moments in few strict forms. The command line takes them as people write them, and each form in which a
// command prints a time (docs/cli.md).

// stampLayout is how commands print a time to people: in UTC, which the text says.
const stampLayout = "2006-01-02 15:04:05.000Z"

// stamp is a time as commands print it.
func stamp(t time.Time) string { return t.UTC().Format(stampLayout) }

// momentFlag is a flag that names a moment.
type momentFlag struct {
	written string
	moment  client.Moment
}

var _ pflag.Value = (*momentFlag)(nil)

// Set implements pflag.Value.
func (m *momentFlag) Set(text string) (err error) {
	m.written = text
	m.moment, err = parseWhen(text, time.Now())
	return err
}

// String implements pflag.Value.
func (m *momentFlag) String() string { return m.written }

// momentType is the type of all flags that name a moment.
const momentType = "moment"

// Type implements pflag.Value.
func (m *momentFlag) Type() string { return momentType }

// momentWords are the forms of a moment, in short.
const momentWords = `a time ("2026-03-01 03:12", "03:12", "yesterday 14:00"), "5m ago", "now", or a position`

// momentVar adds a flag that names a moment.
func momentVar(f *pflag.FlagSet, m *momentFlag, name, usage string) { f.Var(m, name, usage) }

var errNotAMoment = errors.New("must be " + momentWords)

// parseWhen reads a moment as people write it, into a form of the API. "" is no moment.
//
// What is relative ("2d ago") stays relative, so that it is counted by the registry's clock, whose times the events have.
// A time that names no zone is one of now's zone.
func parseWhen(text string, now time.Time) (client.Moment, error) {
	text = strings.TrimSpace(text)
	if text == "" || text == "now" {
		return client.Moment(text), nil
	}
	if p, err := wire.ParsePosition("", text); err == nil {
		return client.AtPosition(p), nil
	}
	if d, ok := parseAgo(text); ok {
		return client.Moment(d.String() + " ago"), nil
	}
	if at, ok := parseTime(text, now); ok {
		return client.At(at), nil
	}
	return "", errNotAMoment
}

// parseAgo reads "5m ago", "1 h 30 m ago", "2 days ago" and "-5m".
func parseAgo(text string) (time.Duration, bool) {
	length, ok := strings.CutSuffix(text, "ago")
	if !ok {
		length, ok = strings.CutPrefix(text, "-")
	}
	if !ok {
		return 0, false
	}
	return parseLength(length)
}

var (
	lengthPart = regexp.MustCompile(`^\s*(\d+(?:\.\d*)?|\.\d+)\s*([a-zµμ]+)\s*`)
	lengthUnit = func() map[string]time.Duration {
		units := map[string]time.Duration{}
		for names, unit := range map[string]time.Duration{
			"ns": 1, "us µs μs": time.Microsecond, "ms": time.Millisecond, "s sec secs second seconds": time.Second,
			"m min mins minute minutes": time.Minute, "h hour hours": time.Hour, "d day days": 24 * time.Hour, "w week weeks": 7 * 24 * time.Hour,
		} {
			for name := range strings.FieldsSeq(names) {
				units[name] = unit
			}
		}
		return units
	}()
)

// parseLength reads a length of time: Go's durations, days (24 hours) and weeks, with spaces, and with units as words.
func parseLength(text string) (total time.Duration, ok bool) {
	for text != "" {
		part := lengthPart.FindStringSubmatch(text)
		if part == nil {
			return 0, false
		}
		unit, known := lengthUnit[part[2]]
		n, err := strconv.ParseFloat(part[1], 64)
		if !known || err != nil || n*float64(unit) > float64(1<<62) {
			return 0, false
		}
		total += time.Duration(n * float64(unit))
		if total < 0 {
			return 0, false
		}
		text = text[len(part[0]):]
		ok = true
	}
	return total, ok
}

// clockForm is a time of a day, with a zone or without.
var clockForm = regexp.MustCompile(`(?i)^(\d{1,2}):(\d{2})(?::(\d{2})(?:[.,](\d+))?)?\s*(Z|UTC|GMT|[+-]\d{2}(?::?\d{2})?)?$`)

// parseTime reads a time that is not relative to the moment at which it is read.
func parseTime(text string, now time.Time) (at time.Time, ok bool) {
	if seconds, isUnix := strings.CutPrefix(text, "@"); isUnix {
		return parseUnix(seconds)
	}
	if at, err := http.ParseTime(text); err == nil {
		return at, true
	}
	day, clock, split := cutDay(text)
	if !split {
		return lastClock(text, now)
	}
	year, month, date, ok := parseDay(day, now)
	if !ok || clock == "" {
		return time.Date(year, month, date, 0, 0, 0, 0, now.Location()), ok
	}
	return parseClock(clock, year, month, date, now.Location())
}

// cutDay divides a text into a day and a time of the day. split is false if the text does not begin with a day.
func cutDay(text string) (day, clock string, split bool) {
	for _, word := range []string{"today", "yesterday"} {
		if len(text) >= len(word) && strings.EqualFold(text[:len(word)], word) {
			return word, strings.TrimPrefix(strings.TrimSpace(text[len(word):]), "at "), true
		}
	}
	const date = len(time.DateOnly)
	if len(text) < date || text[4] != '-' || len(text) > date && !strings.ContainsRune("Tt ", rune(text[date])) {
		return "", "", false
	}
	return text[:date], strings.TrimSpace(text[min(date+1, len(text)):]), true
}

// parseDay reads a date, "today" or "yesterday".
func parseDay(day string, now time.Time) (year int, month time.Month, date int, ok bool) {
	at, err := now, error(nil)
	switch day {
	case "today":
	case "yesterday":
		year, month, date := now.Date()
		at = time.Date(year, month, date-1, 12, 0, 0, 0, now.Location()) // at noon no clocks are changed
	default:
		at, err = time.Parse(time.DateOnly, day)
	}
	year, month, date = at.Date()
	return year, month, date, err == nil
}

// lastClock reads a time of a day: today's, or yesterday's if today's has not come yet.
func lastClock(text string, now time.Time) (at time.Time, ok bool) {
	zone := now.Location()
	if m := clockForm.FindStringSubmatch(text); m != nil {
		zone = parseZone(m[5], zone)
	}
	year, month, date := now.In(zone).Date()
	at, ok = parseClock(text, year, month, date, zone)
	if ok && at.After(now) {
		at, ok = parseClock(text, year, month, date-1, zone)
	}
	return at, ok
}

// parseClock reads a time of a day such as 03:12, "03:12:05.123 UTC" or 03:12Z on a date.
func parseClock(text string, year int, month time.Month, date int, zone *time.Location) (time.Time, bool) {
	m := clockForm.FindStringSubmatch(text)
	if m == nil {
		return time.Time{}, false
	}
	hour, minute, second := number(m[1]), number(m[2]), number(m[3])
	nanos := number((m[4] + "000000000")[:9])
	at := time.Date(year, month, date, hour, minute, second, nanos, parseZone(m[5], zone))
	return at, hour < 24 && minute < 60 && second < 60
}

// parseZone reads a zone that clockForm has found; "": the local one.
func parseZone(text string, local *time.Location) *time.Location {
	switch {
	case text == "":
		return local
	case text[0] == '+' || text[0] == '-':
		digits := strings.ReplaceAll(text[1:], ":", "") + "00"
		offset := number(digits[:2])*3600 + number(digits[2:4])*60
		if text[0] == '-' {
			offset = -offset
		}
		return time.FixedZone("", offset)
	}
	return time.UTC
}

// number is the value of a few digits, or 0.
func number(digits string) int {
	n, _ := strconv.Atoi(digits) // the caller has digits, or nothing
	return n
}

// parseUnix reads seconds since 1970, as the command date takes them: @1772334720.5.
func parseUnix(text string) (time.Time, bool) {
	whole, fraction, _ := strings.Cut(text, ".")
	seconds, err := strconv.ParseUint(whole, 10, 38)
	if err != nil || strings.Trim(fraction, "0123456789") != "" {
		return time.Time{}, false
	}
	return time.Unix(int64(seconds), int64(number((fraction + "000000000")[:9]))), true
}
