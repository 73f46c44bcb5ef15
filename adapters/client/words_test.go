package client_test

import (
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/rollcall-registry/rollcall/adapters/client"
)

// A server that speaks http where https was asked for is told of in plain words.
func TestAServerWithoutTLSIsToldInPlainWords(t *testing.T) {
	server := httptest.NewServer(nil)
	defer server.Close()
	c, err := client.New("https"+strings.TrimPrefix(server.URL, "http"), client.Options{})
	if err != nil {
		t.Fatal(err)
	}
	if _, err = c.Services(t.Context(), "default", ""); err == nil || !strings.HasSuffix(err.Error(), ": it speaks http, not https") {
		t.Error(err)
	}
}
