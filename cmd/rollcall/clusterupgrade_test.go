package main

import (
	"fmt"
	"strings"
	"syscall"
	"testing"
	"time"
)

// laterBinary builds a rollcall that knows one more version of the cluster's rules.
func laterBinary(t *testing.T) string {
	t.Helper()
	path, err := buildBinary(t.TempDir(), "-tags", "laterrules")
	if err != nil {
		t.Fatal(err)
	}
	return path
}

// restart ends a node and starts it again, with a binary, and waits until it is level with the others.
func (c *trio) restart(id, binary string) {
	c.t.Helper()
	n := c.nodes[id]
	if err := n.end(syscall.SIGTERM); err != nil {
		c.t.Errorf("%s ended with %v\n%s", id, err, n.logs)
	}
	n.binary = binary
	c.start(id)
	c.level(id)
}

// level waits until a node has as much of the log as the leader, or nearly.
func (c *trio) level(id string) {
	c.t.Helper()
	c.until(id+" is level", func() error {
		leader, _ := c.leader(id)
		reply, err := c.client(leader).Cluster(c.t.Context())
		if err != nil {
			return err
		}
		for _, m := range reply.Value.Members {
			if m.ID == id && m.Connected && m.Behind != nil && *m.Behind < 1000 {
				return nil
			}
		}
		return fmt.Errorf("%+v", reply.Value.Members)
	})
}

// rules waits until a node is at a version of the rules.
func (c *trio) rules(id string, version uint64) {
	c.t.Helper()
	c.until(fmt.Sprintf("%s is at version %d of the rules", id, version), func() error {
		reply, err := c.client(id).Cluster(c.t.Context())
		if err == nil && reply.Value.Rules != version {
			err = fmt.Errorf("it is at version %d", reply.Value.Rules)
		}
		return err
	})
}

// A cluster of one version of rollcall becomes one of the next version, whose rules are later, node by node, while clients write and
// read at all nodes. Until all are new, a node may go back. Nothing is lost by that, done twice or told otherwise. Afterwards the earlier
// version is refused, and says so.
func TestAClusterIsUpgradedUnderLoad(t *testing.T) {
	lasting := min(tortureLasts(t), 10*time.Second)
	later := laterBinary(t)
	c := newTrio(t, newAuthority(t, "cluster"))
	ids := []string{"n1", "n2", "n3"}
	for _, n := range c.nodes {
		n.args = append(n.args, "--self-preservation=false") // as in torture
	}
	c.start(ids...)
	f := &victims{trio: c, ids: ids}
	f.begin()
	earlier := c.status("n1").Rules
	stays := func() {
		t.Helper()
		time.Sleep(lasting / 5)
		for _, id := range ids {
			c.rules(id, earlier)
		}
	}
	stays()
	leader, others := c.leader("n1")
	for _, binary := range []string{later, "", later} { // a node goes back to the earlier version, and on again
		c.restart(others[0], binary)
		stays()
	}
	c.restart(others[1], later)
	stays()
	if out, errs, code := run(t, nil, "cluster", "transfer", others[0], "--url", c.url(leader)); code != 0 {
		t.Errorf("%d %s%s", code, out, errs)
	}
	c.restart(leader, later)
	for _, id := range ids {
		c.rules(id, earlier+1)
	}
	time.Sleep(lasting)
	befallen := c.nodes[others[0]]
	_ = befallen.end(syscall.SIGKILL)
	befallen.binary = ""
	if said := c.fails(befallen.id); !strings.Contains(said, "too old for its cluster") {
		t.Errorf("the earlier version says %s", said)
	}
	befallen.binary = later
	c.start(befallen.id)
	n4 := c.newNode("n4")
	n4.args = append(n4.args, "--cluster", "n4="+n4.address, "--join")
	stop := c.waits("n4")
	c.until("n4 is refused", func() error {
		_, errs, code := run(t, nil, "cluster", "add", "n4="+n4.address, "--url", c.url("n1"))
		if code == 0 || !strings.Contains(errs, "the version of rollcall on node n4 is too old") {
			return fmt.Errorf("%d %s", code, errs)
		}
		return nil
	})
	stop()
	f.end()
	f.judge()
}

// A node that went back to the earlier version, and missed the begin of later rules, is told so by the others, and ends.
func TestANodeThatMissedLaterRulesEnds(t *testing.T) {
	tortureLasts(t)
	later := laterBinary(t)
	c := newTrio(t, newAuthority(t, "cluster"))
	c.nodes["n2"].binary, c.nodes["n3"].binary = later, later
	c.start("n1", "n2", "n3")
	earlier := c.status("n1").Rules
	c.register("a", "n1")
	c.equal("n1", "n2", "n3")
	c.lead("n2", "n2") // n2 is connected to n3, and goes on to believe that
	n3 := c.nodes["n3"]
	if err := n3.Process.Signal(syscall.SIGSTOP); err != nil {
		t.Fatal(err)
	}
	if err := c.nodes["n1"].end(syscall.SIGTERM); err != nil {
		t.Errorf("n1 ended with %v", err)
	}
	c.nodes["n1"].binary = later
	c.start("n1")
	c.lead("n2", "n2")
	c.rules("n1", earlier+1)
	c.register("b", "n1", "n2")
	c.kill("n3")
	n3.binary = ""
	if said := c.fails("n3"); !strings.Contains(said, "too old for its cluster") {
		t.Errorf("n3 says %s", said)
	}
	n3.binary = later
	c.start("n3")
	c.equal("n1", "n2", "n3")
}
