// Package clienttest runs real clients of Consul against the real server. It is a module of its own, so that the product's
// go.mod has no clients that only tests need.
package clienttest

import (
	"bufio"
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"testing"
	"time"

	"github.com/hashicorp/consul/api"
)

const root = "../../.."

// binary is the server, which TestMain builds once.
var binary string

func TestMain(m *testing.M) { os.Exit(withBinary(m)) }

func withBinary(m *testing.M) int {
	dir, err := os.MkdirTemp("", "rollcall-clienttest-")
	if err != nil {
		panic(err)
	}
	defer os.RemoveAll(dir)
	binary = filepath.Join(dir, "rollcall")
	build := exec.Command("go", "build", "-o", binary, "./cmd/rollcall")
	build.Dir = root
	if out, err := build.CombinedOutput(); err != nil {
		fmt.Fprintf(os.Stderr, "%v\n%s", err, out)
		return 1
	}
	return m.Run()
}

// registry is a server that speaks Consul's API, always at the same address.
type registry struct {
	t       *testing.T
	data    string
	address string // of Consul's API
	args    []string
	process *exec.Cmd
	url     string // of the native API
}

func start(t *testing.T, args ...string) *registry {
	r := &registry{t: t, data: filepath.Join(t.TempDir(), "data"), address: freeAddress(t), args: args}
	r.run()
	t.Cleanup(func() { r.kill() })
	return r
}

// freeAddress is a loopback address at which nobody listens. Where the system has all of 127.0.0.0/8, it is hardly one that anybody else has,
// nor one that connections go out from.
func freeAddress(t *testing.T) string {
	l, err := net.Listen("tcp", fmt.Sprintf("127.%d.%d.%d:0", 1+rand.IntN(254), rand.IntN(256), 1+rand.IntN(254)))
	if err != nil {
		l, err = net.Listen("tcp", "127.0.0.1:0")
	}
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	return l.Addr().String()
}

func (r *registry) run() {
	r.t.Helper()
	args := []string{"serve", "--listen", "127.0.0.1:0", "--consul-listen", r.address, "--data", r.data, "--log-format", "json", "--min-free-mib", "64"}
	r.process = exec.Command(binary, append(args, r.args...)...)
	logs, err := r.process.StderrPipe()
	if err != nil {
		r.t.Fatal(err)
	}
	if err := r.process.Start(); err != nil {
		r.t.Fatal(err)
	}
	lines := bufio.NewScanner(logs)
	for lines.Scan() {
		var entry struct{ Msg, URL string }
		if json.Unmarshal(lines.Bytes(), &entry) == nil && entry.Msg == "rollcall is ready" {
			r.url = entry.URL
			go func() { // until the server ends
				for lines.Scan() {
				}
			}()
			return
		}
	}
	r.t.Fatal("the server ended at its start")
}

// kill ends the server as a crash of its machine would.
func (r *registry) kill() {
	_ = r.process.Process.Kill()
	_ = r.process.Wait() // an error is what a kill gives
}

func (r *registry) command(args ...string) {
	r.t.Helper()
	if out, err := exec.Command(binary, args...).CombinedOutput(); err != nil {
		r.t.Fatalf("rollcall %v: %v\n%s", args, err, out)
	}
}

// backup backs the running server up.
func (r *registry) backup() (dir string) {
	r.t.Helper()
	dir = filepath.Join(r.t.TempDir(), "backup")
	r.command("backup", dir, "--data", r.data)
	return dir
}

// restore puts a server on an earlier backup in the place of the one that runs.
func (r *registry) restore(backup string) {
	r.t.Helper()
	r.kill()
	r.data = filepath.Join(r.t.TempDir(), "restored")
	r.command("restore", backup, "--data", r.data)
	r.run()
}

func clientOf(t *testing.T, address string) *api.Client {
	t.Helper()
	config := api.DefaultConfig()
	config.Address = address
	client, err := api.NewClient(config)
	if err != nil {
		t.Fatal(err)
	}
	return client
}

func (r *registry) client() *api.Client { return clientOf(r.t, r.address) }

// must fails the test with an error.
func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// eventually waits until say gives what is wanted.
func eventually(t *testing.T, within time.Duration, what, want string, say func() string) {
	t.Helper()
	got := ""
	for until := time.Now().Add(within); time.Now().Before(until); time.Sleep(20 * time.Millisecond) {
		if got = say(); got == want {
			return
		}
	}
	t.Errorf("%s: %q after %s, want %q", what, got, within, want)
}
