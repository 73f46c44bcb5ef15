// Package traefiktest runs Traefik's provider for Consul's catalog against the real server. It is a module of its own, for Traefik is
// large: make torture runs it.
package traefiktest

import (
	"bufio"
	"encoding/json"
	"fmt"
	"net"
	"net/http"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	ptypes "github.com/traefik/paerser/types"
	"github.com/traefik/traefik/v3/pkg/config/dynamic"
	"github.com/traefik/traefik/v3/pkg/provider/consulcatalog"
	"github.com/traefik/traefik/v3/pkg/safe"
)

const root = "../../.."

// registry is a server that speaks Consul's API, always at the same address.
type registry struct {
	t                     *testing.T
	binary, data, address string
	process               *exec.Cmd
}

func start(t *testing.T) *registry {
	t.Helper()
	r := &registry{t: t, binary: filepath.Join(t.TempDir(), "rollcall"), data: filepath.Join(t.TempDir(), "data")}
	build := exec.Command("go", "build", "-o", r.binary, "./cmd/rollcall")
	build.Dir = root
	if out, err := build.CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	r.address = l.Addr().String()
	l.Close()
	r.run()
	t.Cleanup(func() { r.kill() })
	return r
}

func (r *registry) run() {
	r.t.Helper()
	r.process = exec.Command(r.binary, "serve", "--listen", "127.0.0.1:0", "--consul-listen", r.address, "--data", r.data, "--log-format", "json", "--min-free-mib", "64")
	logs, err := r.process.StderrPipe()
	if err != nil {
		r.t.Fatal(err)
	}
	if err := r.process.Start(); err != nil {
		r.t.Fatal(err)
	}
	lines := bufio.NewScanner(logs)
	for lines.Scan() {
		var entry struct{ Msg string }
		if json.Unmarshal(lines.Bytes(), &entry) == nil && entry.Msg == "rollcall is ready" {
			go func() { // until the server ends
				for lines.Scan() {
				}
			}()
			return
		}
	}
	r.t.Fatal("the server ended at its start")
}

func (r *registry) kill() {
	_ = r.process.Process.Kill()
	_ = r.process.Wait() // an error is what a kill gives
}

func (r *registry) put(path, body string) {
	r.t.Helper()
	request, err := http.NewRequest(http.MethodPut, "http://"+r.address+path, strings.NewReader(body))
	if err != nil {
		r.t.Fatal(err)
	}
	resp, err := http.DefaultClient.Do(request)
	if err != nil {
		r.t.Fatal(err)
	}
	resp.Body.Close()
	if resp.StatusCode != http.StatusOK {
		r.t.Fatal(path, resp.Status)
	}
}

// rule is longer than a label of most registries may be.
var rule = "Host(`shop.example`) && PathPrefix(`/" + strings.Repeat("a", 200) + "`)"

func TestTraefikFollowsInstances(t *testing.T) {
	r := start(t)
	provider := &consulcatalog.Provider{}
	provider.SetDefaults()
	provider.Endpoint.Address, provider.Endpoint.EndpointWaitTime = r.address, ptypes.Duration(time.Minute)
	provider.Watch, provider.ExposedByDefault = true, false
	if err := provider.Init(); err != nil {
		t.Fatal(err)
	}
	configurations := make(chan dynamic.Message, 100)
	pool := safe.NewPool(t.Context())
	t.Cleanup(pool.Stop)
	if err := provider.Provide(configurations, pool); err != nil {
		t.Fatal(err)
	}
	newest := "nothing"
	becomes := func(after, want string) {
		t.Helper()
		end := time.After(2 * time.Minute)
		for newest != want {
			select {
			case m := <-configurations:
				newest = said(m.Configuration)
			case <-end:
				t.Fatalf("after %s: %s, want %s", after, newest, want)
			}
		}
	}
	register := func(id string, port int) {
		t.Helper()
		tags, err := json.Marshal([]string{"traefik.enable=true", "traefik.http.routers.web.rule=" + rule})
		if err != nil {
			t.Fatal(err)
		}
		r.put("/v1/agent/service/register", fmt.Sprintf(`{"ID":%q,"Name":"web","Address":"10.0.0.5","Port":%d,"Tags":%s,"Check":{"TTL":"1h"}}`, id, port, tags))
	}
	r.put("/v1/agent/service/register", `{"Name":"hidden","Address":"10.0.0.6","Port":1}`)
	register("a", 8001)
	register("b", 8002)
	r.put("/v1/agent/check/pass/service:a", "")
	becomes("the first check passed", "8001")
	r.put("/v1/agent/check/pass/service:b", "")
	becomes("both passed", "8001 8002")
	r.put("/v1/agent/check/warn/service:a", "")
	r.put("/v1/agent/check/fail/service:b", "")
	becomes("one failed, and one warns", "8001")
	r.put("/v1/agent/check/pass/service:b", "")
	becomes("it passes again", "8001 8002")
	r.put("/v1/agent/service/maintenance/a?enable=true", "")
	becomes("maintenance", "8002")
	r.kill()
	r.run()
	r.put("/v1/agent/service/maintenance/a?enable=false", "")
	becomes("a restart and the end of the maintenance", "8001 8002")
	r.put("/v1/agent/service/deregister/a", "")
	becomes("deregistration", "8002")
	r.put("/v1/agent/service/deregister/b", "")
	becomes("deregistration of the last", "nothing")
}

// said is the ports of the servers that a configuration sends requests for the rule to.
func said(c *dynamic.Configuration) string {
	if c == nil || c.HTTP == nil || c.HTTP.Routers["web"] == nil || c.HTTP.Routers["web"].Rule != rule {
		return "nothing"
	}
	var ports []string
	for _, service := range c.HTTP.Services {
		for _, server := range service.LoadBalancer.Servers {
			_, port, _ := strings.Cut(server.URL, "http://10.0.0.5:")
			ports = append(ports, port)
		}
	}
	slices.Sort(ports)
	return strings.Join(ports, " ")
}
