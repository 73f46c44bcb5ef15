package httpapi_test

import (
	"bytes"
	"compress/gzip"
	"fmt"
	"io"
	"net/http"
	"strings"
	"sync"
	"testing"

	"github.com/rollcall-registry/rollcall/adapters/web"
)

// ask sends a GET whose reply is not decompressed on the way.
func ask(t *testing.T, s *server, path string, header ...string) (*http.Response, []byte) {
	t.Helper()
	r, err := http.NewRequestWithContext(t.Context(), "GET", s.URL+path, nil)
	if err != nil {
		t.Fatal(err)
	}
	for i := 0; i < len(header); i += 2 {
		r.Header.Set(header[i], header[i+1])
	}
	resp, err := (&http.Transport{DisableCompression: true}).RoundTrip(r)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	return resp, body
}

func unpacked(t *testing.T, body []byte) []byte {
	t.Helper()
	r, err := gzip.NewReader(bytes.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	plain, err := io.ReadAll(r)
	if err != nil {
		t.Fatal(err)
	}
	return plain
}

// A client that accepts gzip gets the same bytes compressed, through the lane's connections as well as through the server.
func TestRepliesAreCompressedForThoseWhoAcceptIt(t *testing.T) {
	s := start(t)
	for i := range 60 {
		s.send("PUT", fmt.Sprintf("/v1/services/web/instances/i%d", i), `{"address":"10.0.0.5","ttl":"1h"}`).want(t, 201)
	}
	for _, path := range []string{"/v1/services/web/instances", "/v1/services/web/instances?ready=true", "/v1/services/web/instances?limit=50", "/v1/catalog", "/v1/history", "/v1/diff?from=0", "/v1/services/web/instances?at=60"} {
		plain, body := ask(t, s, path)
		small, packed := ask(t, s, path, "Accept-Encoding", "br, gzip;q=0.5")
		if plain.Header.Get("Content-Encoding") != "" || small.Header.Get("Content-Encoding") != "gzip" || len(packed) > len(body)/3 {
			t.Errorf("%s: %q and %q, %d bytes of %d", path, plain.Header.Get("Content-Encoding"), small.Header.Get("Content-Encoding"), len(packed), len(body))
			continue
		}
		if plain.Header.Get("Vary") != "Accept-Encoding" || small.Header.Get("Vary") != "Accept-Encoding" {
			t.Errorf("%s does not say that it varies: %q, %q", path, plain.Header.Get("Vary"), small.Header.Get("Vary"))
		}
		if got := unpacked(t, packed); !strings.Contains(path, "diff") && !bytes.Equal(got, body) {
			t.Errorf("%s: other bytes come compressed", path)
		}
		if etag := plain.Header.Get("ETag"); etag != "" {
			if small.Header.Get("ETag") != "W/"+etag {
				t.Errorf("%s: the tags are %s and %s", path, etag, small.Header.Get("ETag"))
			}
			for _, accept := range []string{"gzip", "identity"} {
				if again, _ := ask(t, s, path, "Accept-Encoding", accept, "If-None-Match", small.Header.Get("ETag")); again.StatusCode != 304 {
					t.Errorf("%s is sent again to a client that has it: %s", path, again.Status)
				}
			}
		}
	}
	for _, refusing := range []string{"identity", "gzip;q=0", "br", "*;q=0", ""} {
		if resp, _ := ask(t, s, "/v1/catalog", "Accept-Encoding", refusing); resp.Header.Get("Content-Encoding") != "" {
			t.Errorf("gzip is sent to a client that accepts %q", refusing)
		}
	}
	for _, short := range []string{"/v1/services", "/v1/services/web", "/v1/services/web/instances/i1", "/v1/services/web/instances?limit=1"} {
		if resp, _ := ask(t, s, short, "Accept-Encoding", "gzip"); resp.Header.Get("Content-Encoding") != "" {
			t.Errorf("%s is compressed", short)
		}
	}
}

// Streams are not compressed: a change must arrive when it happens.
func TestStreamsAreNotCompressed(t *testing.T) {
	s := start(t)
	s.send("PUT", a1, `{"address":"10.0.0.5"}`).want(t, 201)
	for _, path := range []string{"/v1/streams/catalog", "/v1/streams/services/checkout", "/v1/events"} {
		r, err := http.NewRequestWithContext(t.Context(), "GET", s.URL+path, nil)
		if err != nil {
			t.Fatal(err)
		}
		r.Header.Set("Accept-Encoding", "gzip")
		resp, err := (&http.Transport{DisableCompression: true}).RoundTrip(r)
		if err != nil {
			t.Fatal(err)
		}
		_ = resp.Body.Close()
		if resp.Header.Get("Content-Encoding") != "" {
			t.Errorf("%s is compressed", path)
		}
	}
}

// Many clients at once get right replies, compressed or not.
func TestManyClientsShareACompressedReply(t *testing.T) {
	s := start(t)
	for i := range 100 {
		s.send("PUT", fmt.Sprintf("/v1/services/web/instances/i%d", i), `{"address":"10.0.0.5","ttl":"1h"}`).want(t, 201)
	}
	_, plain := ask(t, s, "/v1/services/web/instances")
	var asking sync.WaitGroup
	for range 20 {
		asking.Go(func() {
			for range 5 {
				resp, body := ask(t, s, "/v1/services/web/instances", "Accept-Encoding", "gzip")
				if resp.Header.Get("Content-Encoding") == "gzip" {
					body = unpacked(t, body)
				}
				if !bytes.Equal(body, plain) {
					t.Error("a reply has other bytes")
				}
			}
		})
	}
	asking.Wait()
}

func TestAcceptEncodingIsReadByItsWeights(t *testing.T) {
	for header, want := range map[string]bool{
		"gzip": true, "GZIP": true, "deflate, gzip": true, "gzip;q=1.0": true, "gzip; q=0.001": true, "*": true, "*;q=0.1": true, "identity, *;q=0": false,
		"gzip;q=0": false, "gzip;q=0.000": false, "gzip;q=x": false, "br": false, "": false, "gzip;q=0, *": false, "*;q=0, gzip": true, "x-gzip": true,
	} {
		if got := web.AcceptsGzip(header); got != want {
			t.Errorf("%q accepts gzip: %v", header, got)
		}
	}
}
