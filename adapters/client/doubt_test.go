package client_test

import (
	"errors"
	"fmt"
	"net/http"
	"strings"
	"testing"

	"github.com/rollcall-registry/rollcall/adapters/client"
)

// An error whose outcome is in doubt names each server once, and says of no server that answered that no answer came.
func TestAnErrorInDoubtNamesAServerOnce(t *testing.T) {
	half := func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Rollcall-Position", "3")
		w.Header().Set("Content-Length", "100")
		_, _ = w.Write([]byte("half"))
	}
	proxy := func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(502) }
	const doubt = "; the command may have been carried out"
	for name, one := range map[string]struct {
		nodes         []http.HandlerFunc
		begins, names string // how the error begins, and how often it names a server
		holds         string
	}{
		"half an answer":                {[]http.HandlerFunc{half}, "the answer from http://", "1", " broke off: unexpected EOF" + doubt},
		"half an answer, and silence":   {[]http.HandlerFunc{half, nil}, "the answer from http://", "2", ": connection refused" + doubt},
		"of a proxy":                    {[]http.HandlerFunc{proxy}, "http://", "1", " is not a Rollcall server: it answered 502 Bad Gateway" + doubt},
		"of a proxy, and silence":       {[]http.HandlerFunc{proxy, nil}, "http://", "2", ": connection refused" + doubt},
		"no answer":                     {[]http.HandlerFunc{hangsUp}, "no answer from http://", "1", ": EOF" + doubt},
		"no answer, and nobody":         {[]http.HandlerFunc{hangsUp, nil}, "no answer from http://", "2", "connection refused" + doubt},
		"no answer, and half an answer": {[]http.HandlerFunc{hangsUp, half}, "the answer from http://", "2", ": EOF" + doubt},
	} {
		t.Run(name, func(t *testing.T) {
			c, _ := several(t, one.nodes...)
			err := register(t.Context(), c)
			var silent *client.Unreachable
			if !errors.As(err, &silent) || !silent.Unknown {
				t.Fatalf("%v", err)
			}
			text := err.Error()
			if !strings.HasPrefix(text, one.begins) || fmt.Sprint(strings.Count(text, "http://")) != one.names || !strings.HasSuffix(text, one.holds) {
				t.Errorf("%q", text)
			}
		})
	}
}
