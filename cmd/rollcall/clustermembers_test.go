package main

import (
	"fmt"
	"os"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
)

// Members are added and removed while clients write and read: the leader, one that is dead, one that stands still, and one whose name comes
// again with an empty data folder. Nothing that was acknowledged is lost. What cannot be is refused, and says why.
func TestMembersComeAndGoUnderLoad(t *testing.T) {
	tortureLasts(t)
	c := newTrio(t, newAuthority(t, "cluster"))
	all := []string{"n1", "n2", "n3"}
	for i := 4; i <= 7; i++ {
		n := c.newNode(fmt.Sprint("n", i))
		n.args = append(n.args, "--cluster", n.id+"="+n.address, "--join")
		all = append(all, n.id)
	}
	for _, n := range c.nodes {
		n.args = append(n.args, "--self-preservation=false") // as in torture
	}
	c.start("n1", "n2", "n3")
	f := &victims{trio: c, ids: all, asked: []string{"n1", "n2"}} // these stay
	f.begin()
	command := func(want string, args ...string) {
		t.Helper()
		c.until(fmt.Sprint(args), func() error {
			out, errs, code := run(t, nil, args...)
			if (code == 0) != (want == "") || !strings.Contains(errs, want) {
				return fmt.Errorf("%d %s%s", code, out, errs)
			}
			return nil
		})
	}
	add := func(id string) {
		t.Helper()
		var joined sync.WaitGroup
		joined.Go(func() { c.start(id) }) // it is ready when it has been added
		for range 2 {                     // at once
			joined.Go(func() { command("", "cluster", "add", id+"="+c.nodes[id].address, "--url", c.url("n1", "n2")) })
		}
		joined.Wait()
		if t.Failed() {
			t.FailNow()
		}
		c.level(id)
	}
	remove := func(id string, at ...string) {
		t.Helper()
		if out, errs, code := run(t, nil, "cluster", "remove", id, "--url", c.url(at...)); code != 0 {
			t.Errorf("remove %s: %d %s%s", id, code, out, errs)
		}
	}
	members := func(want ...string) {
		t.Helper()
		c.until(fmt.Sprint("the members are ", want), func() error {
			var have []string
			for _, m := range c.status("n1").Members {
				have = append(have, m.ID)
			}
			if !slices.Equal(have, want) {
				return fmt.Errorf("they are %v", have)
			}
			return nil
		})
	}

	command("cannot be reached", "cluster", "add", "n4="+c.nodes["n4"].address, "--url", c.url("n1"))
	command("certificate is valid for n3, not n9", "cluster", "add", "n9="+c.nodes["n3"].address, "--url", c.url("n1"))
	command("is a member already", "cluster", "add", "n3="+c.nodes["n4"].address, "--url", c.url("n1"))
	command("the cluster has no member n9", "cluster", "remove", "n9", "--url", c.url("n1"))
	command("the cluster has no member n9", "cluster", "transfer", "n9", "--url", c.url("n1"))
	command("cannot remove itself", "cluster", "remove", "n3", "--url", c.url("n3"))

	t.Log("the leader is removed")
	c.lead("n3", "n1")
	add("n4")
	remove("n3", "n1")
	members("n1", "n2", "n4")
	if err := c.nodes["n3"].end(syscall.SIGTERM); err != nil {
		t.Errorf("n3 ended with %v", err)
	}
	if said := c.fails("n3"); !strings.Contains(said, "the cluster has removed this node") {
		t.Errorf("a node that was removed says %s", said)
	}

	t.Log("the lead is given to a dead node, which is then removed")
	c.lead("n1", "n2")
	c.kill("n4")
	command("n4 is not connected", "cluster", "transfer", "n4", "--url", c.url("n1"))
	add("n5")
	remove("n4", "n2")
	members("n1", "n2", "n5")

	t.Log("a node that stands still is removed")
	if err := c.nodes["n5"].Process.Signal(syscall.SIGSTOP); err != nil {
		t.Fatal(err)
	}
	add("n6")
	remove("n5", "n1")
	members("n1", "n2", "n6")
	if err := c.nodes["n5"].Process.Signal(syscall.SIGCONT); err != nil {
		t.Fatal(err)
	}
	c.until("n5 learns that it was removed", func() error {
		if problem := c.status("n5").Problem; !strings.Contains(problem, "removed") {
			return fmt.Errorf("its problem is %q", problem)
		}
		return nil
	})
	if status, body, err := c.nodes["n5"].send("PUT", "/v1/services/web/instances/b", `{"address":"10.0.0.2","ttl":"none"}`); err != nil || status != 503 {
		t.Errorf("a node that was removed answers %d %s %v", status, body, err)
	}
	c.kill("n5")

	t.Log("the name of a node that was removed comes again, with an empty data folder")
	if err := os.RemoveAll(c.nodes["n4"].data); err != nil {
		t.Fatal(err)
	}
	add("n4")
	remove("n6", "n4")
	c.kill("n6")
	members("n1", "n2", "n4")

	f.ids = []string{"n1", "n2", "n4"}
	f.end()
	f.judge()
}
