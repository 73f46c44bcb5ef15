package agent_test

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/rollcall-registry/rollcall/adapters/agent"
	"github.com/rollcall-registry/rollcall/adapters/client/clienttest"
	"github.com/rollcall-registry/rollcall/domain"
)

func move(t *testing.T, from, to string) {
	t.Helper()
	if err := os.Rename(from, to); err != nil {
		t.Fatal(err)
	}
}

// A folder that is away, such as a mount that is lost, takes nothing out.
func TestAFolderThatCannotBeReadKeepsWhatItDefined(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		folder := filepath.Join(t.TempDir(), "instances")
		if err := os.Mkdir(folder, 0o700); err != nil {
			t.Fatal(err)
		}
		write(t, filepath.Join(folder, "cart.yaml"), "service: cart")
		g := run(t, clienttest.New(), folder, true)
		time.Sleep(3 * time.Second)
		move(t, folder, folder+".away")
		time.Sleep(5 * time.Second)
		g.agent.Reload()
		time.Sleep(5 * time.Second)
		if p := g.agent.Problems(); !g.instance("cart", "host-1").Live() || g.instance("cart", "host-1").Epoch != 1 || len(p) != 1 || !strings.HasPrefix(p[0].Error(), folder+": ") {
			t.Errorf("%+v, %v", g.instance("cart", "host-1"), p)
		}
		move(t, folder+".away", folder)
		time.Sleep(3 * time.Second)
		if p := g.agent.Problems(); !g.instance("cart", "host-1").Live() || len(p) != 0 {
			t.Errorf("when it is back: %v", p)
		}
		g.end()
	})
}

// An editor takes a file away and puts another one in its place, or writes it in parts, each of which may be whole YAML.
func TestAFileIsReadWhenItHasSettled(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		folder := t.TempDir()
		file := filepath.Join(folder, "pay.yaml")
		both := "instances:\n- {service: pay, id: p-1}\n- {service: pay, id: p-2}\n"
		write(t, file, both)
		g := run(t, clienttest.New(), folder, true)
		time.Sleep(2500 * time.Millisecond) // the looks are at whole seconds
		move(t, file, file+"~")
		time.Sleep(time.Second)
		write(t, file, "instances:\n- {service: pay, id: p-1}\n")
		time.Sleep(time.Second)
		write(t, file, both)
		time.Sleep(5 * time.Second)
		for _, id := range []string{"p-1", "p-2"} {
			if i := g.instance("pay", id); !i.Live() || i.Epoch != 1 {
				t.Errorf("%s: %+v", id, i)
			}
		}
		g.end()
	})
}

// Another file in the place of one, of the same size and time, is noticed: a symlink leads elsewhere, or a copy kept the time.
func TestAnotherFileOfTheSameTimeIsRead(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		folder, elsewhere := t.TempDir(), t.TempDir()
		for _, version := range []string{"v1", "v2"} {
			path := filepath.Join(elsewhere, version)
			write(t, path, "service: cart\nversion: "+version)
			if err := os.Chtimes(path, time.Unix(1e9, 0), time.Unix(1e9, 0)); err != nil {
				t.Fatal(err)
			}
		}
		link := filepath.Join(folder, "cart.yaml")
		point := func(version string) {
			if err := os.Symlink(filepath.Join(elsewhere, version), link+".new"); err != nil {
				t.Fatal(err)
			}
			move(t, link+".new", link)
		}
		point("v1")
		g := run(t, clienttest.New(), folder, true)
		time.Sleep(3 * time.Second)
		point("v2")
		time.Sleep(4 * time.Second)
		if i := g.instance("cart", "host-1"); i.Details.Version != "v2" {
			t.Errorf("%+v", i)
		}
		point("nowhere")
		time.Sleep(4 * time.Second)
		if i := g.instance("cart", "host-1"); !i.Live() || len(g.agent.Problems()) != 1 {
			t.Errorf("a link that leads nowhere: %+v, %v", i, g.agent.Problems())
		}
		point("v1")
		time.Sleep(4 * time.Second)
		if i := g.instance("cart", "host-1"); i.Details.Version != "v1" || i.Epoch != 1 || len(g.agent.Problems()) != 0 {
			t.Errorf("a link that leads somewhere again: %+v, %v", i, g.agent.Problems())
		}
		g.end()
	})
}

// What follows the first document of a file must not be left out in silence.
func TestAFileHasOneDocument(t *testing.T) {
	file := filepath.Join(t.TempDir(), "a.yaml")
	for text, good := range map[string]bool{
		"service: cart\n---\nservice: pay\n": false, "service: cart\n---\n{": false, "service: cart\n---\n": false,
		"---\nservice: cart\n": true, "service: cart\n...\n": true, "# a note\nservice: cart\n": true,
	} {
		write(t, file, text)
		if _, err := agent.ReadFile(file, host); good != (err == nil) {
			t.Errorf("%q: %v", text, err)
		}
	}
}

// At the start, too, a file may be in the middle of being written: a part of it may be whole YAML, with an instance that lacks its ports.
func TestAFileThatChangedJustBeforeTheStartIsReadWhenItHasSettled(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		folder, r := t.TempDir(), clienttest.New()
		file := filepath.Join(folder, "pay.yaml")
		part := func(text string) { // files have the time of the test
			write(t, file, text)
			if err := os.Chtimes(file, time.Now(), time.Now()); err != nil {
				t.Fatal(err)
			}
		}
		whole := "service: pay\nid: p-1\nports: {http: 80}\n"
		part(whole)
		before := run(t, r, folder, false)
		time.Sleep(10 * time.Second)
		before.end()
		events := r.Instance(domain.Key{Namespace: "default", Service: "pay", ID: "p-1"}).Events
		part("service: pay\nid: p-1\n")
		g := run(t, r, folder, true)
		time.Sleep(500 * time.Millisecond)
		part(whole)
		time.Sleep(10 * time.Second)
		if i := g.instance("pay", "p-1"); !i.Live() || i.Details.Ports["http"] != 80 || i.Events != events {
			t.Errorf("%d events, then %+v", events, i)
		}
		part("service: pay\nid: p-2\n")
		g.agent.Reload()
		time.Sleep(100 * time.Millisecond)
		if !g.instance("pay", "p-2").Live() {
			t.Error("when it is told to, the agent does not read at once")
		}
		g.end()
	})
}

// A folder in the place of a file, as a container's missing mount makes it, takes nothing out. The file's end does, and is logged.
func TestAFolderInThePlaceOfAFileIsToldAndTakesNothingOut(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		folder := t.TempDir()
		file := filepath.Join(folder, "pay.yaml")
		write(t, file, "service: pay\nid: p-1\n")
		g := run(t, clienttest.New(), folder, false)
		time.Sleep(3 * time.Second)
		move(t, file, file+"~")
		if err := os.Mkdir(file, 0o700); err != nil {
			t.Fatal(err)
		}
		time.Sleep(10 * time.Second)
		if p := g.agent.Problems(); !g.instance("pay", "p-1").Live() || len(p) != 1 || !strings.HasPrefix(p[0].Error(), file+": is no file") {
			t.Errorf("with a folder: %+v, %v", g.instance("pay", "p-1"), p)
		}
		if err := os.Remove(file); err != nil {
			t.Fatal(err)
		}
		time.Sleep(10 * time.Second)
		if p := g.agent.Problems(); g.instance("pay", "p-1").Live() || len(p) != 0 {
			t.Errorf("without a file: %+v, %v", g.instance("pay", "p-1"), p)
		}
		g.end()
		if log := g.log.String(); strings.Count(log, "an instance is deregistered") != 1 || strings.Count(log, "is no file") != 1 {
			t.Errorf("it says:\n%s", log)
		}
	})
}
