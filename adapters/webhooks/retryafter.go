package webhooks

import (
	"net/http"
	"strconv"
	"strings"
	"time"
)

// maxRetryAfter is the longest pause that a target can ask for.
const maxRetryAfter = time.Hour

// retryAfter is how long a target asks not to be tried again (RFC 9110, 10.2.3); 0: it asks for nothing.
func retryAfter(status int, header http.Header, now time.Time) time.Duration {
	text := header.Get("Retry-After")
	if text == "" || status != http.StatusTooManyRequests && status != http.StatusServiceUnavailable {
		return 0
	}
	if strings.Trim(text, "0123456789") == "" {
		seconds, err := strconv.Atoi(text)
		if err != nil { // the number is too large
			return maxRetryAfter
		}
		return time.Duration(min(seconds, int(maxRetryAfter/time.Second))) * time.Second
	}
	at, err := http.ParseTime(text)
	if err != nil {
		return 0
	}
	if date, err := http.ParseTime(header.Get("Date")); err == nil { // the time is by the target's clock
		now = date
	}
	return min(max(at.Sub(now), 0), maxRetryAfter)
}
