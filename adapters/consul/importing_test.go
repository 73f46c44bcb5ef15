package consul

import (
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/rollcall-registry/rollcall/adapters/client"
	"github.com/rollcall-registry/rollcall/queries/wire"
)

// After 101 comes the bare connection, whose reads no context ends.
func TestASourceThatBeginsAnotherProtocolIsRefused(t *testing.T) {
	done := make(chan struct{})
	switches := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Connection", "Upgrade")
		w.WriteHeader(http.StatusSwitchingProtocols)
		_ = http.NewResponseController(w).Flush()
		<-done
	}))
	defer switches.Close()
	defer close(done)
	i := Import{From: switches.URL, HTTP: switches.Client()}
	if _, err := i.get(t.Context(), "/v1/catalog/services", 0, new(any)); err == nil || !strings.Contains(err.Error(), "answered 101") {
		t.Errorf("%v", err)
	}
}

// A client that registers here while the import is under way keeps its registration.
func TestAnImportDoesNotWriteOverARegistrationThatComesMeanwhile(t *testing.T) {
	for name, c := range map[string]struct{ before, condition, value string }{
		"of an instance that was not there": {`[]`, "If-None-Match", "*"},
		"of an imported instance": {
			`[{"namespace":"default","service":"web","id":"w","address":"10.0.0.1","revision":7,"origin":{"consul":{"node":"n","id":"w","imported":{"from":"http://there"}}}}]`, "If-Match", `"7"`,
		},
	} {
		t.Run(name, func(t *testing.T) {
			instances, writes := c.before, 0
			registry := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				w.Header().Set("Content-Type", "application/json")
				w.Header().Set("Rollcall-Position", "1")
				if r.Method == http.MethodGet {
					fmt.Fprintf(w, `{"instances":%s}`, instances)
					return
				}
				_, _ = io.Copy(io.Discard, r.Body)
				if writes++; r.Header.Get(c.condition) != c.value {
					t.Errorf("%s with %v", r.Method, r.Header)
				}
				instances = `[{"namespace":"default","service":"web","id":"w","address":"10.0.0.1","revision":8}]` // the client's own
				w.Header().Set("Content-Type", "application/problem+json")
				w.WriteHeader(http.StatusPreconditionFailed)
				fmt.Fprintf(w, `{"type":"%srevision-mismatch","status":412}`, wire.TypePrefix)
			}))
			defer registry.Close()
			here, err := client.New(registry.URL, client.Options{})
			if err != nil {
				t.Fatal(err)
			}
			i := Import{From: "http://there", Registry: here, Logger: slog.New(slog.DiscardHandler)}
			e := importedEntry{}
			e.Node.Node, e.Node.Address, e.Service.ID, e.Service.Name, e.Service.Port = "n", "10.0.0.1", "w", "web", 80
			if err := i.take(t.Context(), "web", []importedEntry{e}); err != nil {
				t.Fatal(err)
			}
			if writes != 1 || i.refused.Load() != 0 || i.registered.Load() != 0 {
				t.Errorf("%d writes, %d registered, %d refused; want one write that is given up", writes, i.registered.Load(), i.refused.Load())
			}
		})
	}
}
