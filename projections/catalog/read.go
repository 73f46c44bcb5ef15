package catalog

import (
	"slices"
	"strconv"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/rollcall-registry/rollcall/domain"
)

// The readers read the fields that the catalog needs from data in exactly the form in which Rollcall writes it. Data in any
// other form is decoded.
//
// INVARIANT: a reader gives the same values as decoding, and refuses what decoding refuses. So it looks at every byte.

// registration has the fields that the catalog needs of a registration or an update.
type registration struct {
	epoch       uint64
	owned       ownership
	maintenance *domain.InMaintenance
	status      code
	setsStatus  bool // the update changes the status
	ttl         time.Duration
	decoded     domain.Event // of an instance that needs health; nil: it needs none
}

func readRegistration(eventType string, data []byte) (r registration, err error) {
	s := scanner{data: data}
	if r = s.registration(eventType == domain.TypeInstanceUpdated); !s.failed {
		return r, nil
	}
	decoded, err := domain.DecodeEvent(eventType, data)
	if err != nil {
		return registration{}, err
	}
	var details domain.Details
	var owner string
	var reported domain.Status
	r = registration{}
	switch e := decoded.(type) {
	case domain.InstanceRegistered:
		r.epoch, r.maintenance, owner, details, reported = e.Epoch, e.Maintenance, e.Owner, e.Details, e.Reported
	case domain.InstanceUpdated:
		r.epoch, r.setsStatus, owner, details, reported = e.Epoch, slices.Contains(e.Changed, "status"), e.Owner, e.Details, e.Reported
	}
	if reported != "" || len(details.Checks) > 0 || details.OnLapse != "" {
		r.decoded = decoded
	}
	if owner != "" {
		r.owned = otherOwner
	}
	r.status, _ = statusCode(details.Status) // decoding refuses every other status
	r.ttl = time.Duration(details.TTL)
	return r, nil
}

// readHealth is the status that a HealthChanged leads to. plain says that it tells nothing else that the catalog needs.
func readHealth(data []byte) (to code, plain bool, err error) {
	s := scanner{data: data}
	status := s.change()
	s.need(`,"source":`)
	s.text()
	if s.literal(`,"output":`) {
		s.text()
	}
	s.end()
	to, known := statusCode(status)
	if known && !s.failed {
		return to, true, nil
	}
	event, err := domain.DecodeEvent(domain.TypeHealthChanged, data)
	if err != nil {
		return 0, false, err
	}
	changed := event.(domain.HealthChanged)
	to, _ = statusCode(changed.To)
	return to, changed.Reported == "" && !changed.Lapsed, nil
}

// readTraffic is the state that a TrafficChanged leads to, and the reason where that is maintenance.
func readTraffic(data []byte) (to code, reason string, err error) {
	s := scanner{data: data}
	traffic := s.change()
	if s.literal(`,"reason":`) {
		s.text()
	}
	s.end()
	to, known := trafficCode(traffic)
	if known && !s.failed && to != maintenance {
		return to, "", nil
	}
	event, err := domain.DecodeEvent(domain.TypeTrafficChanged, data)
	if err != nil {
		return 0, "", err
	}
	changed := event.(domain.TrafficChanged)
	to, _ = trafficCode(changed.To)
	return to, changed.Reason, nil
}

// readEnd gives an error if an event that ends an epoch cannot be decoded.
func readEnd(eventType string, data []byte) error {
	if eventType == domain.TypeInstanceDeregistered {
		s := scanner{data: data}
		s.need(`{"epoch":`)
		s.number()
		if s.literal(`,"reason":`) {
			s.text()
		}
		if s.end(); !s.failed {
			return nil
		}
	}
	_, err := domain.DecodeEvent(eventType, data)
	return err
}

// plainOwnerOf is the owner in the packed source of an instance whose ownership is plainOwner.
func plainOwnerOf(packed string) string {
	if strings.HasPrefix(packed, string(rune(verbatim))) {
		_, owner, _ := strings.Cut(packed, phrases[ownerPhrase])
		owner, _, _ = strings.Cut(owner, `"`)
		return owner
	}
	_, owner, _ := strings.Cut(packed, string(rune(ownerPhrase)))
	if end := strings.IndexFunc(owner, func(r rune) bool { return r == '"' || r < control }); end >= 0 {
		return owner[:end] // a phrase may begin with the quote that ends the owner
	}
	return "" // a damaged snapshot said that there is one
}

// scanner reads the fields of an event in their order. Once failed is true, the data is in another form, and all values
// that were read mean nothing.
type scanner struct {
	data   []byte
	at     int // data was read up to here; to store what is left at each step would take longer, see plain.Reader
	failed bool
}

func (s *scanner) registration(updated bool) (r registration) {
	s.need(`{"epoch":`)
	r.epoch = s.number()
	if s.literal(`,"owner":`) {
		r.owned = plainOwner
		if owner, plain := s.text(); !plain || len(owner) == 0 || !utf8.Valid(owner) {
			s.failed = true
		}
	}
	if updated {
		s.need(`,"changed":[`)
		for more := true; more && !s.failed; more = s.literal(`,`) {
			name, plain := s.text()
			r.setsStatus = r.setsStatus || string(name) == "status"
			s.failed = s.failed || !plain
		}
		s.need(`]`)
		if s.literal(`,"previous_status":`) {
			s.text()
		}
	} else if s.literal(`,"replaces":`) {
		s.number()
	}
	s.need(`,"address":`) // a registration in maintenance is rare and is decoded
	s.text()
	if s.literal(`,"ports":{`) {
		s.pairs(s.small)
	}
	if s.literal(`,"tags":[`) {
		for more := true; more && !s.failed; more = s.literal(`,`) {
			s.text()
		}
		s.need(`]`)
	}
	if s.literal(`,"metadata":{`) {
		s.pairs(func() { s.text() })
	}
	if s.literal(`,"zone":`) {
		s.text()
	}
	if s.literal(`,"version":`) {
		s.text()
	}
	s.need(`,"weight":`)
	s.small()
	s.need(`,"status":`)
	status, _ := s.text()
	s.need(`,"ttl":`)
	ttl, plain := s.text()
	s.end()
	var known bool
	var err error
	r.status, known = statusCode(status)
	r.ttl, err = domain.ParseDuration(ttl)
	s.failed = s.failed || !known || !plain || err != nil
	return r
}

// change reads the beginning of an event that leads from one state to another.
func (s *scanner) change() (to []byte) {
	s.need(`{"epoch":`)
	s.number()
	s.need(`,"from":`)
	s.text()
	s.need(`,"to":`)
	to, _ = s.text()
	return to
}

func (s *scanner) pairs(value func()) {
	for more := true; more && !s.failed; more = s.literal(`,`) {
		s.text()
		s.need(`:`)
		value()
	}
	s.need(`}`)
}

// literal skips the text if it comes now, and says whether it does.
func (s *scanner) literal(text string) bool {
	if len(s.data)-s.at < len(text) || string(s.data[s.at:s.at+len(text)]) != text {
		return false
	}
	s.at += len(text)
	return true
}

// need skips the text, or fails.
func (s *scanner) need(text string) {
	if !s.literal(text) {
		s.failed = true
	}
}

// end skips the closing bracket of the data, or fails.
func (s *scanner) end() {
	s.need(`}`)
	s.failed = s.failed || s.at < len(s.data)
}

// number reads an integer that fits into 64 bits.
func (s *scanner) number() (n uint64) {
	b := s.data[s.at:]
	digits := 0
	for digits < len(b) && b[digits] >= '0' && b[digits] <= '9' {
		n = 10*n + uint64(b[digits]-'0')
		digits++
	}
	if digits == 0 || digits > 19 || digits > 1 && b[0] == '0' { // 20 digits may not fit into 64 bits
		s.failed = true
	}
	s.at += digits
	return n
}

// small reads an integer that fits into 16 bits.
func (s *scanner) small() {
	if s.number() > 1<<16-1 {
		s.failed = true
	}
}

// text reads a string. plain says that the string has no escape.
func (s *scanner) text() (text []byte, plain bool) {
	b := s.data[s.at:]
	if len(b) == 0 || b[0] != '"' {
		s.failed = true
		return nil, false
	}
	plain = true
	for i := 1; i < len(b); i++ {
		if ordinary[b[i]] {
			continue
		}
		switch b[i] {
		case '"':
			s.at += i + 1
			return b[1:i], plain
		case '\\':
			plain = false
			if i += escapeLength(b[i+1:]); i >= len(b) {
				s.failed = true
				return nil, false
			}
			continue
		}
		break
	}
	s.failed = true
	return nil, false
}

// ordinary are the bytes that stand for themselves in a JSON string.
var ordinary = func() (set [256]bool) {
	for b := 0x20; b < len(set); b++ {
		set[b] = b != '"' && b != '\\'
	}
	return set
}()

// escapeLength is the number of bytes of an escape behind its backslash. If there is no valid escape, the number is larger
// than any data.
func escapeLength(b []byte) int {
	const none = 1 << 30
	if len(b) == 0 {
		return none
	}
	switch b[0] {
	case '"', '\\', '/', 'b', 'f', 'n', 'r', 't':
		return 1
	case 'u':
		if len(b) >= 5 {
			if _, err := strconv.ParseUint(string(b[1:5]), 16, 16); err == nil {
				return 5
			}
		}
	}
	return none
}

// TTLOf is the ttl that an instance has after an InstanceRegistered or an InstanceUpdated. data is the event's data in its present
// schema.
func TTLOf(eventType string, data []byte) (time.Duration, error) {
	r, err := readRegistration(eventType, data)
	return r.ttl, err
}
