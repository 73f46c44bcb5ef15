package main

import (
	"cmp"
	"context"
	"crypto/ecdsa"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/json"
	"errors"
	"fmt"
	"math/big"
	mrand "math/rand/v2"
	"net"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/rollcall-registry/rollcall/adapters/client"
	"github.com/rollcall-registry/rollcall/domain"
	"github.com/rollcall-registry/rollcall/queries/wire"
)

// trio is a cluster of three processes, each with a data folder.
type trio struct {
	t     testing.TB
	nodes map[string]*trioNode
	certs *authority // nil: the nodes have no certificates
}

// trioNode is one node. Its addresses stay when it is restarted.
type trioNode struct {
	*process
	id, data, listen, address string
	args                      []string
	within                    []string // the command that runs the node, before what it runs
	binary                    string   // "": that of this version
}

// freeAddress is an address of this machine at which nobody listens. Where the system has all of 127.0.0.0/8, it is none that
// connections go out from, so that no connection takes the port of a node while it is down.
func freeAddress(t testing.TB) string {
	t.Helper()
	l, err := net.Listen("tcp", fmt.Sprintf("127.%d.%d.%d:0", 1+mrand.IntN(254), mrand.IntN(256), 1+mrand.IntN(254)))
	if err != nil {
		l, err = net.Listen("tcp", "127.0.0.1:0")
	}
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	return l.Addr().String()
}

// newTrio makes three nodes, of which none runs.
func newTrio(t testing.TB, certs *authority) *trio {
	t.Helper()
	c := &trio{t: t, nodes: map[string]*trioNode{}, certs: certs}
	var members []string
	for _, id := range []string{"n1", "n2", "n3"} {
		n := c.newNode(id)
		members = append(members, id+"="+n.address)
	}
	for _, n := range c.nodes {
		n.args = append(n.args, "--cluster", strings.Join(members, ","))
	}
	return c
}

// newNode adds a node that does not run, without what it says of the cluster.
func (c *trio) newNode(id string) *trioNode {
	c.t.Helper()
	n := &trioNode{id: id, data: c.t.TempDir(), listen: freeAddress(c.t), address: freeAddress(c.t), args: []string{"--node", id, "--min-free-mib", "1"}}
	if c.certs != nil {
		cert, key := c.certs.issueNode(id)
		n.args = append(n.args, "--cluster-cert", cert, "--cluster-key", key, "--cluster-ca", c.certs.ca())
	}
	c.nodes[id] = n
	return n
}

// issueNode writes a certificate for a node of a cluster.
func (a *authority) issueNode(id string) (cert, key string) {
	return a.issueFor(id, id, time.Now().Add(time.Hour))
}

// issueFor writes a certificate into the files of a node, for a name and until a time.
func (a *authority) issueFor(id, name string, until time.Time) (cert, key string) {
	a.t.Helper()
	a.made++
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1000 + a.made), Subject: pkix.Name{CommonName: name}, NotBefore: time.Now().Add(-time.Hour), NotAfter: until,
		DNSNames: []string{name}, ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth, x509.ExtKeyUsageClientAuth},
	}
	private := a.newKey()
	der, err := x509.CreateCertificate(rand.Reader, template, a.cert, &private.PublicKey, a.key)
	if err != nil {
		a.t.Fatal(err)
	}
	return a.write(id+".pem", "CERTIFICATE", der), a.write(id+".key", "EC PRIVATE KEY", ecDER(a.t, private))
}

func ecDER(t testing.TB, key *ecdsa.PrivateKey) []byte {
	t.Helper()
	der, err := x509.MarshalECPrivateKey(key)
	if err != nil {
		t.Fatal(err)
	}
	return der
}

// start starts nodes at once: a cluster is founded when all of them are there.
func (c *trio) start(ids ...string) {
	c.t.Helper()
	path, err := binary()
	if err != nil {
		c.t.Fatal(err)
	}
	var group sync.WaitGroup
	for _, id := range ids {
		n := c.nodes[id]
		group.Go(func() {
			args := append(slices.Clone(n.within), cmp.Or(n.binary, path))
			args = append(args, n.serve()...)
			n.process = startCommand(c.t, exec.Command(args[0], args[1:]...))
		})
	}
	group.Wait()
	if c.t.Failed() {
		c.t.FailNow()
	}
}

// serve are the arguments that start the node.
func (n *trioNode) serve() []string {
	return append([]string{"serve", "--listen", n.listen, "--data", n.data, "--log-format", "json"}, n.args...)
}

// fails starts a node that must end by itself, and gives what it says.
func (c *trio) fails(id string) (said string) {
	c.t.Helper()
	path, err := binary()
	if err != nil {
		c.t.Fatal(err)
	}
	n := c.nodes[id]
	ctx, cancel := context.WithTimeout(c.t.Context(), 2*time.Minute)
	defer cancel()
	out, err := exec.CommandContext(ctx, cmp.Or(n.binary, path), n.serve()...).CombinedOutput()
	var ended *exec.ExitError
	if !errors.As(err, &ended) || !ended.Exited() {
		c.t.Errorf("%s did not end by itself: %v\n%s", id, err, out)
	}
	return string(out)
}

// waits starts a node that does not get ready. stop ends it, and gives what it said.
func (c *trio) waits(id string) (stop func() string) {
	c.t.Helper()
	path, err := binary()
	if err != nil {
		c.t.Fatal(err)
	}
	n := c.nodes[id]
	command, said := exec.Command(cmp.Or(n.binary, path), n.serve()...), &lockedBuffer{}
	command.Stderr = said
	if err := command.Start(); err != nil {
		c.t.Fatal(err)
	}
	stop = sync.OnceValue(func() string {
		_ = command.Process.Kill()
		_ = command.Wait()
		return said.String()
	})
	c.t.Cleanup(func() { stop() })
	return stop
}

// lead has a node lead. at is the node that is asked for that.
func (c *trio) lead(id, at string) {
	c.t.Helper()
	c.until(id+" leads", func() error {
		if out, errs, code := run(c.t, nil, "cluster", "transfer", id, "--url", c.url(at)); code != 0 {
			return fmt.Errorf("%s%s", out, errs)
		}
		if leader := c.status(at).Leader; leader != id {
			return fmt.Errorf("%s leads", leader)
		}
		return nil
	})
}

// kill kills nodes.
func (c *trio) kill(ids ...string) {
	for _, id := range ids {
		_ = c.nodes[id].end(syscall.SIGKILL)
	}
}

// url names the nodes.
func (c *trio) url(ids ...string) string {
	var all []string
	for _, id := range ids {
		all = append(all, "http://"+c.nodes[id].listen)
	}
	return strings.Join(all, ",")
}

func (c *trio) client(ids ...string) *client.Client {
	c.t.Helper()
	registry, err := client.New(c.url(ids...), client.Options{})
	if err != nil {
		c.t.Fatal(err)
	}
	return registry
}

// status is how the cluster is, as a node sees it.
func (c *trio) status(id string) wire.ClusterStatus {
	c.t.Helper()
	reply, err := c.client(id).Cluster(c.t.Context())
	if err != nil {
		c.t.Fatal(err)
	}
	return reply.Value
}

// leader waits until a node knows of a leader, and gives it and the others.
func (c *trio) leader(of string) (leader string, others []string) {
	c.t.Helper()
	c.until("there is a leader", func() error {
		reply, err := c.client(of).Cluster(c.t.Context())
		if err != nil {
			return err
		}
		if leader = reply.Value.Leader; leader == "" {
			return fmt.Errorf("%s knows of no leader", of)
		}
		return nil
	})
	for _, m := range c.status(of).Members {
		if m.ID != leader {
			others = append(others, m.ID)
		}
	}
	return leader, others
}

// until waits until a condition holds.
func (c *trio) until(what string, holds func() error) {
	c.t.Helper()
	deadline := time.Now().Add(time.Minute)
	for {
		err := holds()
		if err == nil {
			return
		}
		if time.Now().After(deadline) {
			c.t.Fatalf("%s: %v", what, err)
		}
		time.Sleep(50 * time.Millisecond)
	}
}

// register registers an instance of the service web, at any of the nodes, and tries again while no node takes it.
func (c *trio) register(id string, at ...string) wire.Position {
	c.t.Helper()
	registry, position := c.client(at...), wire.Position{}
	c.until("register "+id, func() error {
		reply, err := registry.Register(c.t.Context(), domain.Key{Service: "web", ID: id}, domain.Details{Address: "10.0.0.1", TTL: domain.NoTTL})
		position = reply.Position
		return err
	})
	return position
}

// equal waits until nodes have the same log, and gives its number of audited events and root.
func (c *trio) equal(ids ...string) (size int64, root string) {
	c.t.Helper()
	c.until("the nodes are equal", func() error {
		var heads []string
		for _, id := range ids {
			reply, err := c.client(id).Checkpoint(c.t.Context())
			if err != nil {
				return err
			}
			lines := strings.Split(string(reply), "\n")
			heads = append(heads, strings.Join(lines[:3], " ")) // without the signature, which is each node's own
			if _, err := fmt.Sscan(lines[1], &size); err != nil {
				return err
			}
			root = lines[2]
		}
		for _, head := range heads {
			if head != heads[0] {
				return fmt.Errorf("%q", heads)
			}
		}
		return nil
	})
	var first string
	for _, id := range ids {
		log, err := c.log(id)
		if err != nil {
			c.t.Fatal(err)
		}
		if first == "" {
			first = log
		}
		if !strings.HasPrefix(log, first) && !strings.HasPrefix(first, log) { // the registry goes on meanwhile
			c.t.Errorf("the events of %s and %s differ", ids[0], id)
		}
	}
	return size, root
}

// log has every audited event of a node: position, stream, revision, time and id.
func (c *trio) log(id string) (string, error) {
	var b strings.Builder
	for e, err := range c.client(id).Events(c.t.Context(), client.EventQuery{}) {
		if err != nil {
			return "", err
		}
		fmt.Fprintln(&b, e.Position, e.Stream, e.Revision, e.RecordedAt.UnixNano(), e.ID, e.Type, string(e.Data))
	}
	return b.String(), nil
}

// has fails unless a node has all instances of the service web.
func (c *trio) has(node string, ids ...string) {
	c.t.Helper()
	have := c.nodes[node].instances("web")
	for _, id := range ids {
		if _, ok := have[id]; !ok {
			c.t.Errorf("%s lacks %s", node, id)
		}
	}
}

// Three nodes take commands at any of them. The leader is killed: the others go on, nothing that was acknowledged is lost,
// and the killed node catches up.
func TestAClusterOutlivesItsLeader(t *testing.T) {
	certs := newAuthority(t, "cluster")
	c := newTrio(t, certs)
	c.start("n1", "n2", "n3")
	var ids []string
	for _, node := range []string{"n1", "n2", "n3"} {
		id := "at-" + node
		at := c.register(id, node)
		ids = append(ids, id)
		for _, other := range []string{"n1", "n2", "n3"} { // read what was written, at any node
			if status, body, err := c.nodes[other].send("GET", "/v1/services/web/instances/"+id+"?after="+at.String(), ""); err != nil || status != 200 {
				t.Errorf("%s at %s: %d, %v, %s", id, other, status, err, body)
			}
		}
	}
	leader, others := c.leader("n1")
	told := c.follow(others[0])
	c.kill(leader)
	for i := range 5 {
		id := fmt.Sprint("after-", i)
		c.register(id, leader, others[0], others[1])
		ids = append(ids, id)
	}
	now, _ := c.leader(others[0])
	if now == leader {
		t.Errorf("%s still leads", leader)
	}
	var ready wire.Readiness
	if status, body, err := c.nodes[now].send("GET", "/readyz", ""); err != nil || status != 200 || json.Unmarshal(body, &ready) != nil || ready.Cluster == nil {
		t.Errorf("/readyz: %d %s %v", status, body, err)
	} else if s := ready.Cluster; s.Node != now || s.Role != wire.Leader || s.Leader != now || s.Members != 3 {
		t.Errorf("/readyz: %s", body)
	}
	for _, id := range ids[3:] {
		told(id)
	}
	c.start(leader)
	c.equal("n1", "n2", "n3")
	for _, node := range []string{"n1", "n2", "n3"} {
		c.has(node, ids...)
	}
	c.until("the members are recorded", func() error {
		reply, err := c.client("n1").History(t.Context(), client.HistoryQuery{Types: []string{domain.TypeClusterStarted}})
		if err == nil && len(reply.Value.Entries) != 1 {
			err = fmt.Errorf("it is told %d times", len(reply.Value.Entries))
		}
		return err
	})
}

// follow follows the service web at a node. told waits until an instance came.
func (c *trio) follow(node string) (told func(id string)) {
	came := make(chan string, 100)
	go func() {
		for u, err := range c.client(node).Follow(c.t.Context(), client.FollowQuery{Service: domain.ServiceKey{Service: "web"}, KeepTrying: true}) {
			if err != nil {
				return
			}
			if u.Change != nil {
				came <- u.Change.ID
			}
		}
	}()
	return func(id string) {
		c.t.Helper()
		for {
			select {
			case got := <-came:
				if got == id {
					return
				}
			case <-time.After(time.Minute):
				c.t.Fatalf("nothing was told of %s", id)
			}
		}
	}
}

// Without a majority nothing is written, and a node says so; what is registered can still be looked up.
func TestAClusterWithoutAMajorityTakesNoCommands(t *testing.T) {
	c := newTrio(t, nil)
	c.start("n1", "n2", "n3")
	c.register("a", "n1")
	c.equal("n1", "n2", "n3")
	c.kill("n2", "n3")
	n1 := c.nodes["n1"]
	c.until("commands are refused", func() error {
		status, body, err := n1.send("PUT", "/v1/services/web/instances/b", `{"address":"10.0.0.2","ttl":"none"}`)
		if err == nil && (status != 503 || !strings.Contains(string(body), "no-leader")) {
			err = fmt.Errorf("%d %s", status, body)
		}
		return err
	})
	c.has("n1", "a")
	if have := n1.instances("web"); len(have) != 1 {
		t.Errorf("it has %v", have)
	}
	if status, body, err := n1.send("GET", "/readyz", ""); err != nil || status != 503 {
		t.Errorf("/readyz: %d %s %v", status, body, err)
	}
	c.until("lookups are marked", func() error {
		resp, err := transport.Get(n1.url + "/v1/services/web/instances")
		if err != nil {
			return err
		}
		defer resp.Body.Close()
		if !strings.Contains(resp.Header.Get("Rollcall-Warning"), "stale") {
			return fmt.Errorf("the headers are %v", resp.Header)
		}
		return nil
	})
	c.start("n2")
	c.register("b", "n1")
	c.start("n3")
	c.equal("n1", "n2", "n3")
}

// A registry of one node becomes a cluster of three with all that it has, and one node again.
func TestANodeAloneBecomesAClusterAndIsAloneAgain(t *testing.T) {
	c := newTrio(t, nil)
	n1 := c.nodes["n1"]
	alone := startServer(t, n1.data, "--min-free-mib", "1")
	for i := range 10 {
		if status, body, err := alone.send("PUT", fmt.Sprint("/v1/services/web/instances/old-", i), `{"address":"10.0.0.1","ttl":"none"}`); err != nil || status != 201 {
			t.Fatalf("%d %s %v", status, body, err)
		}
	}
	_ = alone.end(syscall.SIGTERM)
	c.start("n1", "n2", "n3")
	for _, node := range []string{"n1", "n2", "n3"} {
		c.has(node, "old-0", "old-9")
	}
	c.register("new", "n2")
	size, _ := c.equal("n1", "n2", "n3")
	if size < 11 {
		t.Errorf("the log has %d events", size)
	}
	command := func(args ...string) string {
		t.Helper()
		out, errs, code := run(t, []string{"XDG_CONFIG_HOME=" + t.TempDir()}, args...)
		if code != 0 {
			t.Fatalf("%v: %s%s", args, out, errs)
		}
		return out
	}
	command("cluster", "remove", "n2", "--reason", "it is over", "--data", n1.data)
	command("cluster", "remove", "n3", "--url", c.url("n1"))
	_, errs, code := run(t, nil, "cluster", "remove", "n1", "--url", c.url("n1"))
	if code == 0 || !strings.Contains(errs, "the only one") {
		t.Errorf("the last member: %d, %s", code, errs)
	}
	c.register("last", "n1")
	before, err := c.log("n1")
	if err != nil {
		t.Fatal(err)
	}
	_ = n1.end(syscall.SIGTERM)
	if _, errs, code := run(t, nil, "serve", "--listen", "127.0.0.1:0", "--data", n1.data); code == 0 || !strings.Contains(errs, "rollcall cluster leave") {
		t.Errorf("it is started alone: %d, %s", code, errs)
	}
	command("cluster", "leave", "--data", n1.data)
	n1.process = startServer(t, n1.data, "--min-free-mib", "1")
	n1.listen = strings.TrimPrefix(n1.url, "http://")
	c.has("n1", "old-0", "new", "last")
	if after, err := c.log("n1"); err != nil || !strings.HasPrefix(after, before) {
		t.Errorf("the log was\n%sand is\n%s%v", before, after, err)
	}
	var told []string
	reply, err := c.client("n1").History(t.Context(), client.HistoryQuery{Types: domain.ClusterTypes})
	if err != nil {
		t.Fatal(err)
	}
	for _, e := range reply.Value.Entries {
		told = append(told, e.Type+" by "+e.Actor)
	}
	if got := strings.Join(told, ", "); !strings.Contains(got, "MemberRemoved by anonymous, MemberRemoved by local") {
		t.Errorf("told %s", got)
	}
}

// A new machine takes the place of one that is gone.
func TestAMemberIsReplaced(t *testing.T) {
	certs := newAuthority(t, "cluster")
	c := newTrio(t, certs)
	c.start("n1", "n2", "n3")
	c.register("a", "n1")
	c.kill("n3")
	n4 := c.newNode("n4")
	n4.args = append(n4.args, "--cluster", "n4="+n4.address, "--join")
	joined := make(chan struct{})
	go func() { // it is ready when it has been added
		defer close(joined)
		c.start("n4")
	}()
	var out, errs string
	c.until("n4 is added", func() error {
		var code int
		if out, errs, code = run(t, nil, "cluster", "add", "n4="+n4.address, "--url", c.url("n1"), "-o", "json"); code != 0 {
			return fmt.Errorf("%s%s", out, errs)
		}
		return nil
	})
	<-joined
	if t.Failed() {
		t.FailNow()
	}
	var status wire.ClusterStatus
	if err := json.Unmarshal([]byte(out), &status); err != nil || len(status.Members) != 4 {
		t.Errorf("%v, %s", err, out)
	}
	if out, errs, code := run(t, nil, "cluster", "remove", "n3", "--url", c.url("n1"), "--reason", "its machine is gone"); code != 0 {
		t.Fatalf("%s%s", out, errs)
	}
	leader, _ := c.leader("n1")
	c.kill(leader)
	rest := []string{}
	for _, id := range []string{"n1", "n2", "n4"} {
		if id != leader {
			rest = append(rest, id)
		}
	}
	c.register("b", rest...)
	c.equal(rest...)
	c.has("n4", "a", "b")
}

// An operator goes on with one node after the majority was lost. The log says so, on a timeline of its own.
func TestAClusterIsRecoveredFromOneNode(t *testing.T) {
	c := newTrio(t, nil)
	c.start("n1", "n2", "n3")
	for i := range 20 {
		c.register(fmt.Sprint("a-", i), "n1", "n2", "n3")
	}
	c.kill("n1", "n2", "n3")
	n2 := c.nodes["n2"]
	if out, errs, code := run(t, nil, "store", "stats", "--data", n2.data); code != 0 || !regexp.MustCompile(`end of the log +term [1-9]\d*, entry [1-9]`).MatchString(out) {
		t.Errorf("%d %s%s", code, out, errs)
	}
	out, errs, code := run(t, nil, "cluster", "recover", "--data", n2.data, "--reason", "two machines burnt")
	if code != 0 {
		t.Fatalf("%s%s", out, errs)
	}
	n2.args = []string{"--node", "n2", "--min-free-mib", "1", "--cluster", "n2=" + n2.address}
	c.start("n2")
	c.register("b", "n2")
	for i := range 20 {
		c.has("n2", fmt.Sprint("a-", i))
	}
	reply, err := c.client("n2").History(t.Context(), client.HistoryQuery{Types: []string{domain.TypeClusterRecovered, domain.TypeTimelineBegan}})
	if err != nil || len(reply.Value.Entries) != 2 || !strings.Contains(reply.Value.Entries[0].Summary, "two machines burnt") {
		t.Errorf("%v, %+v", err, reply.Value.Entries)
	}
	if status := c.status("n2"); len(status.Members) != 1 || status.Leader != "n2" {
		t.Errorf("%+v", status)
	}
	n4 := c.newNode("n4")
	n4.args = append(n4.args, "--cluster", "n4="+n4.address, "--join")
	joined := make(chan struct{})
	go func() { defer close(joined); c.start("n4") }()
	c.until("n4 is added", func() error {
		if out, errs, code := run(t, nil, "cluster", "add", "n4="+n4.address, "--url", c.url("n2")); code != 0 {
			return fmt.Errorf("%s%s", out, errs)
		}
		return nil
	})
	<-joined
	c.equal("n2", "n4")
}

// A backup of any node is restored as a registry of its own, from which a cluster is founded again.
func TestABackupOfAMemberIsRestoredIntoANewCluster(t *testing.T) {
	c := newTrio(t, nil)
	c.start("n1", "n2", "n3")
	c.register("a", "n1")
	c.equal("n1", "n2", "n3")
	copied := filepath.Join(t.TempDir(), "backup")
	_, others := c.leader("n1")
	for _, args := range [][]string{
		{"backup", copied, "--data", c.nodes[others[0]].data}, {"backup", "verify", copied},
	} {
		if out, errs, code := run(t, nil, args...); code != 0 {
			t.Fatalf("%v: %s%s", args, out, errs)
		}
	}
	c.register("late", "n1")
	c.kill("n1", "n2", "n3")
	other := newTrio(t, nil)
	if out, errs, code := run(t, nil, "restore", copied, "--data", other.nodes["n1"].data); code != 0 {
		t.Fatalf("%s%s", out, errs)
	}
	other.start("n1", "n2", "n3")
	other.has("n3", "a")
	if have := other.nodes["n3"].instances("web"); len(have) != 1 {
		t.Errorf("it has %v", have)
	}
	other.register("b", "n2")
	other.equal("n1", "n2", "n3")
	reply, err := other.client("n3").History(t.Context(), client.HistoryQuery{Types: []string{domain.TypeTimelineBegan}})
	if err != nil || len(reply.Value.Entries) != 1 {
		t.Errorf("%v, %+v", err, reply.Value.Entries)
	}
}
