package main

import (
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

// imported are the packages that the Go code of documents uses, by their names in the code.
var imported = map[string]string{
	"context": "context", "errors": "errors", "fmt": "fmt", "log": "log", "http": "net/http", "os": "os", "time": "time",
	"client": module + "adapters/client", "watch": module + "adapters/client/watch", "pick": module + "adapters/client/pick",
	"rollcallhttp": module + "adapters/client/rollcallhttp", "rollcallgrpc": module + "adapters/client/rollcallgrpc",
	"stream": module + "adapters/stream", "wire": module + "queries/wire", "domain": module + "domain",
	"grpc": "google.golang.org/grpc", "insecure": "google.golang.org/grpc/credentials/insecure",
	"watermill": "github.com/ThreeDotsLabs/watermill", "message": "github.com/ThreeDotsLabs/watermill/message",
}

// goProgram is a program that runs one of the blocks of Go code, as the body of a function, until SIGINT comes.
func goProgram(blocks []string) string {
	code, imports := "", "\"os/signal\"\n"
	for i, block := range blocks {
		if strings.Contains(block, "registry") && !strings.Contains(block, "client.New(") {
			block = `registry, _ := client.New("http://127.0.0.1:7700", client.Options{})` + "\n" + block // the block goes on from an earlier one
		}
		code += fmt.Sprintf("func block%d(ctx context.Context) error {\n%s\nreturn nil\n}\n", i, block)
	}
	code += "func main() {\nctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)\ndefer stop()\nvar err error\nswitch os.Args[1] {\n"
	for i := range blocks {
		code += fmt.Sprintf("case %q:\nerr = block%d(ctx)\n", fmt.Sprint(i), i)
	}
	code += "}\nif err != nil && !errors.Is(err, context.Canceled) {\nfmt.Println(err)\nos.Exit(1)\n}\n}\n"
	for name, path := range imported {
		if regexp.MustCompile(`\b` + name + `\.`).MatchString(code) {
			imports += fmt.Sprintf("%q\n", path)
		}
	}
	return "package main\nimport (\n" + imports + ")\n" + code
}

// The blocks of Go code of the documents compile, and do against a server what the documents say.
func TestTheGoCodeOfTheDocuments(t *testing.T) {
	t.Parallel()
	p := startServer(t, t.TempDir())
	folder := t.TempDir()
	var blocks []string
	for _, document := range []string{"docs/client.md", "docs/streams.md"} {
		for _, block := range fenced.FindAllStringSubmatch(readText(t, document), -1) {
			if block[1] == "go" {
				blocks = append(blocks, block[2])
			}
		}
	}
	written := strings.NewReplacer("http://127.0.0.1:7700", p.url, "/var/cache/shop", folder, "./consumers", folder, "5 * time.Second", "time.Second / 10")
	// The program stands in the module by an overlay alone, so that it uses the packages as they are here.
	main := filepath.Join(folder, "main.go")
	program := filepath.Join(folder, "program")
	here, err := filepath.Abs("documents")
	if err != nil {
		t.Fatal(err)
	}
	overlay, err := json.Marshal(map[string]map[string]string{"Replace": {filepath.Join(here, "main.go"): main}})
	if err != nil {
		t.Fatal(err)
	}
	for file, text := range map[string]string{main: written.Replace(goProgram(blocks)), filepath.Join(folder, "overlay.json"): string(overlay)} {
		if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	if out, err := exec.Command("go", "build", "-o", program, "-overlay", filepath.Join(folder, "overlay.json"), "./documents").CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	asked := make(chan string, 1) // gets one value; never closed
	shop := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) { asked <- r.URL.Path }))
	defer shop.Close()
	ran := 0
	for i, block := range blocks {
		c := exec.Command(program, fmt.Sprint(i))
		switch {
		case strings.Contains(block, "registry.Keep("):
			b := startEndless(t, c, "registered <nil>")
			p.says(t, "instances checkout", "a-1", "10.0.0.5", "eu-1a", "serving")
			b.interrupt(t)
			p.says(t, "why checkout/a-1", "it was deregistered", "traffic went from serving to draining")
		case strings.Contains(block, "watch.Start("):
			_, port, _ := strings.Cut(strings.TrimPrefix(shop.URL, "http://"), ":")
			p.says(t, "register checkout/b-1 --address 127.0.0.1 --ttl 1h --port http="+port, "created")
			if out, err := c.CombinedOutput(); err != nil || <-asked != "/cart" {
				t.Errorf("%v\n%s", err, out)
			}
		case strings.Contains(block, "registry.Follow("):
			b := startEndless(t, c, "")
			eventually(t, "true", func() string {
				_, body, _ := p.send("GET", "/metrics", "")
				return fmt.Sprint(strings.Contains(string(body), "rollcall_http_subscribers{route=\"/v1/streams/services/:service\"} 1\n"))
			})
			b.interrupt(t)
		case strings.Contains(block, "stream.NewSubscriber("):
			b := startEndless(t, c, "InstanceDeregistered")
			b.interrupt(t)
		default:
			continue
		}
		ran++
	}
	if ran != len(blocks) || ran < 4 {
		t.Errorf("of %d blocks %d were run", len(blocks), ran)
	}
}

// interrupt ends the program as Ctrl-C does, without an error.
func (b *endlessCommand) interrupt(t *testing.T) {
	t.Helper()
	_ = b.Process.Signal(os.Interrupt)
	if err := <-b.done; err != nil {
		t.Errorf("%v\n%s", err, b.said)
	}
}
