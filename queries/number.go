package queries

import (
	"errors"
	"fmt"
	"math"
	"regexp"
	"strconv"
	"strings"
	"time"

	"github.com/rollcall-registry/rollcall/domain"
)

// Numbers in parameters are written as the registry writes them: in decimal digits, without a sign, without zeros before
// them; only one that may have a fraction may have an exponent, as in JSON. What other forms a library reads is no part of the
// API, and a + that nobody escaped is no sign.

var errNotPlain = errors.New("a number has decimal digits only")

// ParseNumber reads a whole number from least to most; "": the value of otherwise.
func ParseNumber(field, text string, otherwise, least, most int64) (int64, error) {
	if text == "" {
		return otherwise, nil
	}
	n, err := ParseWhole(text)
	if err != nil || n > math.MaxInt64 || int64(n) < least || int64(n) > most {
		return 0, domain.InvalidField{Field: field, Rule: fmt.Sprintf("must be from %d to %d", least, most)}
	}
	return int64(n), nil
}

// ParseWhole reads a whole number.
func ParseWhole(text string) (uint64, error) {
	if !IsWhole(text) {
		return 0, errNotPlain
	}
	return strconv.ParseUint(text, 10, 64)
}

// decimalForm is that of a number in JSON.
var decimalForm = regexp.MustCompile(`^(0|[1-9][0-9]*)(\.[0-9]+)?([eE][+-]?[0-9]+)?$`)

// IsDecimal says whether a text has the form of a number that may have a fraction and an exponent.
func IsDecimal(text string) bool { return decimalForm.MatchString(text) }

// ParseDecimal reads a number that may have a fraction and an exponent, as generated clients write it.
func ParseDecimal(text string) (float64, error) {
	if !IsDecimal(text) {
		return 0, errNotPlain
	}
	return strconv.ParseFloat(text, 64)
}

// parseLength reads a length of time, without a sign.
func parseLength(text string) (time.Duration, error) {
	if strings.HasPrefix(text, "-") {
		return 0, errNotPlain
	}
	return domain.ParseDuration(text)
}

// IsWhole says whether a text has the form of a whole number.
func IsWhole(text string) bool {
	return text != "" && strings.Trim(text, "0123456789") == "" && (text == "0" || text[0] != '0')
}
