package webhooks_test

import (
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"
	"unicode"
	"unicode/utf8"

	"github.com/rollcall-registry/rollcall/adapters/webhooks"
	"github.com/rollcall-registry/rollcall/domain"
)

// What a target says in its answer goes into the log of deliveries, the server's log and the reason of the pause: bounded, and without
// what commands a terminal. The webhook of a target that says anything at all is paused.
func TestATargetsOwnWordsAreBounded(t *testing.T) {
	for name, answer := range map[string]string{
		"a status in colour":       "HTTP/1.1 302 \x1b[31mred\x07\r\nLocation: /x\r\nContent-Length: 0\r\n\r\n",
		"a status that is no text": "HTTP/1.1 302 \xff\xfe\r\nLocation: /x\r\nContent-Length: 0\r\n\r\n",
		"a long status":            "HTTP/1.1 302 " + strings.Repeat("é", 20_000) + "\r\nLocation: /x\r\nContent-Length: 0\r\n\r\n",
		"a long way":               "HTTP/1.1 307 T\r\nLocation: http://%zz" + strings.Repeat("c", 60_000) + "\r\nContent-Length: 0\r\n\r\n",
		"a long host":              "HTTP/1.1 307 T\r\nLocation: http://" + strings.Repeat("d", 60_000) + "/\r\nContent-Length: 0\r\n\r\n",
		"no answer":                strings.Repeat("B", 60_000) + "\r\n\r\n",
	} {
		t.Run(name, func(t *testing.T) {
			target := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
				conn, _, err := w.(http.Hijacker).Hijack()
				if err != nil {
					t.Error(err)
					return
				}
				defer conn.Close()
				_, _ = conn.Write([]byte(answer)) // the registry may have hung up
			}))
			defer target.Close()
			r := start(t, func(o *webhooks.Options) { o.PauseAfter = time.Millisecond })
			id := r.create(domain.WebhookSpec{URL: target.URL})
			r.happen("a", 1)
			reason := ""
			r.until("a pause", func([]string) bool {
				w, ok := r.list.Find(id)
				reason = w.Reason
				return ok && w.Paused
			})
			told := []string{reason}
			for _, a := range r.attempts(id) {
				told = append(told, a.Error)
			}
			for _, text := range told {
				if text == "" || len(text) > 600 || !utf8.ValidString(text) || strings.ContainsFunc(text, func(r rune) bool { return !unicode.IsPrint(r) }) {
					t.Errorf("%d bytes are told: %.80q", len(text), text)
				}
			}
		})
	}
}
