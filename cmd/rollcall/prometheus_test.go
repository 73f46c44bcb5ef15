package main

import (
	"encoding/json"
	"fmt"
	"net"
	"net/http"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// A real Prometheus finds the registry through the registry, and scrapes the registry's own metrics.
func TestPrometheusScrapesWhatItFindsInTheRegistry(t *testing.T) {
	path, err := exec.LookPath("prometheus")
	if err != nil {
		t.Skip("prometheus is not installed; `make tools` installs it")
	}
	s := startServer(t, t.TempDir())
	host, port, err := net.SplitHostPort(strings.TrimPrefix(s.url, "http://"))
	if err != nil {
		t.Fatal(err)
	}
	if _, errs, code := run(t, nil, "register", "--url", s.url, "rollcall/self", "--address", host, "--port", "http="+port, "--meta", "team=core", "--ttl", "1h"); code != 0 {
		t.Fatal(errs)
	}

	dir := t.TempDir()
	config := fmt.Sprintf(`
global: {scrape_interval: 200ms, scrape_timeout: 200ms}
scrape_configs:
  - job_name: rollcall
    http_sd_configs: [{url: "%s/v1/sd/prometheus", refresh_interval: 200ms}]
    relabel_configs:
      - {source_labels: [__meta_rollcall_service], target_label: service}
      - {source_labels: [__meta_rollcall_metadata_team], target_label: team}
`, s.url)
	file := filepath.Join(dir, "prometheus.yml")
	if err := os.WriteFile(file, []byte(config), 0o600); err != nil {
		t.Fatal(err)
	}
	free, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	listen := free.Addr().String()
	free.Close()
	prometheus := exec.Command(path, "--config.file", file, "--storage.tsdb.path", filepath.Join(dir, "data"), "--web.listen-address", listen)
	if err := prometheus.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = prometheus.Process.Kill()
		_ = prometheus.Wait()
	})
	var seen string
	for deadline := time.Now().Add(30 * time.Second); time.Now().Before(deadline); time.Sleep(200 * time.Millisecond) {
		seen = query(listen, `rollcall_instances{service="rollcall",team="core",instance="`+host+":"+port+`"}`) + query(listen, `up{service="rollcall"}`)
		if strings.Contains(seen, "rollcall_instances") && strings.HasSuffix(seen, "=1 ") {
			return
		}
	}
	t.Errorf("prometheus has %q", seen)
}

// query gives the names and values of the series that Prometheus answers with.
func query(address, expression string) (series string) {
	resp, err := http.Get("http://" + address + "/api/v1/query?query=" + url.QueryEscape(expression))
	if err != nil {
		return ""
	}
	defer resp.Body.Close()
	var reply struct {
		Data struct {
			Result []struct {
				Metric map[string]string
				Value  [2]any
			}
		}
	}
	if json.NewDecoder(resp.Body).Decode(&reply) != nil {
		return ""
	}
	for _, r := range reply.Data.Result {
		series += fmt.Sprintf("%s=%v ", r.Metric["__name__"], r.Value[1])
	}
	return series
}
