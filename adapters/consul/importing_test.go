package consul

import (
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
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
