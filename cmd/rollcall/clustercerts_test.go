package main

import (
	"crypto/tls"
	"fmt"
	"io"
	"net"
	"os"
	"strings"
	"syscall"
	"testing"
	"time"
)

// A node whose certificate is of another authority, for another name, over, or missing, takes no part, whatever it says of itself. The
// others go on, and show the node as not connected. With the right certificate, whose files it reads without a restart, it catches up.
func TestANodeWithAWrongCertificateTakesNoPart(t *testing.T) {
	tortureLasts(t)
	certs, foreign := newAuthority(t, "cluster"), newAuthority(t, "foreign")
	c := newTrio(t, certs)
	c.start("n1", "n2", "n3")
	n3 := c.nodes["n3"]
	right := n3.args
	foreignCert, foreignKey := foreign.issueNode("n3")
	var plain []string // the node's arguments without certificates
	for i := 0; i < len(right); i += 2 {
		if !strings.HasPrefix(right[i], "--cluster-") {
			plain = append(plain, right[i], right[i+1])
		}
	}
	for _, wrong := range []struct {
		what    string
		prepare func()
	}{
		{"of another authority", func() {
			n3.args = append(append([]string{}, right...), "--cluster-cert", foreignCert, "--cluster-key", foreignKey)
		}},
		{"of another authority, whose nodes alone it trusts", func() {
			n3.args = append(append([]string{}, right...), "--cluster-cert", foreignCert, "--cluster-key", foreignKey, "--cluster-ca", foreign.ca())
		}},
		{"for another node", func() { certs.issueFor("n3", "n2", time.Now().Add(time.Hour)) }},
		{"that is over", func() { certs.issueFor("n3", "n3", time.Now().Add(-time.Minute)) }},
		{"that is missing", func() { n3.args = plain }},
	} {
		t.Log("a certificate", wrong.what)
		c.kill("n3")
		n3.args = right
		certs.issueNode("n3")
		wrong.prepare()
		id := fmt.Sprint("beside-", certs.made)
		// Without the others it is ready when it has waited for them: it serves what it has.
		c.start("n3")
		c.register(id, "n1", "n2")
		for range 20 { // for longer than several attempts to connect
			status, body, err := n3.send("PUT", "/v1/services/web/instances/of-n3", `{"address":"10.0.0.2","ttl":"none"}`)
			if err == nil && status < 500 {
				t.Fatalf("a node with a certificate %s was answered %d %s", wrong.what, status, body)
			}
			time.Sleep(50 * time.Millisecond)
		}
		if _, there := n3.instances("web")[id]; there {
			t.Errorf("a node with a certificate %s receives what the others write", wrong.what)
		}
		c.until("n1 shows why n3 is not connected", func() error {
			for _, m := range c.status("n1").Members {
				if m.ID == "n3" && !m.Connected && m.Problem != "" {
					t.Logf("n1 shows: %s", m.Problem)
					return nil
				}
			}
			return fmt.Errorf("%+v", c.status("n1").Members)
		})
		c.until("n3 shows why n1 is not connected", func() error {
			for _, m := range c.status("n3").Members {
				if m.ID == "n1" && !m.Connected && m.Problem != "" {
					t.Logf("n3 shows: %s", m.Problem)
					return nil
				}
			}
			return fmt.Errorf("%+v", c.status("n3").Members)
		})
		if !strings.Contains(n3.logs.String(), "a node of the cluster cannot be reached") {
			t.Errorf("the log of n3 does not say why it reaches nobody\n%s", n3.logs)
		}
		if wrong.what == "that is over" || wrong.what == "for another node" { // the files are read again
			time.Sleep(time.Second) // so that the files differ in their time
			certs.issueNode("n3")
		} else {
			_ = n3.end(syscall.SIGTERM)
			n3.args = right
			c.start("n3")
		}
		c.register(id+"-later", "n3")
		c.equal("n1", "n2", "n3")
		c.has("n3", id)
		if _, there := n3.instances("web")["of-n3"]; there {
			t.Error("what was refused is there")
		}
	}
}

// Whoever reaches the port of a cluster without a certificate of it, or says nonsense with one, gets nothing and harms nobody, be it slowly or
// by the hundred.
func TestThePortOfAClusterOutlivesHostileClients(t *testing.T) {
	tortureLasts(t)
	certs := newAuthority(t, "cluster")
	c := newTrio(t, certs)
	ids := []string{"n1", "n2", "n3"}
	c.start(ids...)
	c.register("before", "n1")
	term := c.status("n1").Term
	cert, key := certs.issueNode("intruder")
	pair, err := tls.LoadX509KeyPair(cert, key)
	if err != nil {
		t.Fatal(err)
	}
	secure := &tls.Config{InsecureSkipVerify: true, Certificates: []tls.Certificate{pair}}
	open := func(address string, config *tls.Config) net.Conn {
		t.Helper()
		conn, err := net.Dial("tcp", address)
		if err == nil && config != nil {
			conn = tls.Client(conn, config)
		}
		if err != nil {
			t.Fatal(err)
		}
		return conn
	}
	// says sends something, and wants the node to end the connection.
	says := func(what, address string, config *tls.Config, parts ...[]byte) {
		t.Helper()
		conn := open(address, config)
		defer conn.Close()
		for _, part := range parts {
			_, _ = conn.Write(part) // the node may have ended the connection before
		}
		_ = conn.SetReadDeadline(time.Now().Add(time.Minute))
		if _, err := io.Copy(io.Discard, conn); os.IsTimeout(err) {
			t.Errorf("%s: the node keeps the connection", what)
		}
	}
	hello := func(name string) []byte {
		content := fmt.Sprintf(`{"purpose":"messages","name":%q,"from":1,"rules":1}`, name)
		return append([]byte{0, 0, byte((len(content) + 1) >> 8), byte(len(content) + 1), 'h'}, content...)
	}
	var slow []net.Conn
	for _, id := range ids {
		address := c.nodes[id].address
		says("garbage", address, nil, []byte("GET / HTTP/1.1\r\nHost: a\r\n\r\n"))
		says("garbage in a frame", address, nil, []byte{0, 0, 0, 5, 'h', 1, 2, 3, 4})
		says("no certificate", address, &tls.Config{InsecureSkipVerify: true}, hello("n2"))
		says("a huge frame", address, secure, []byte{0xff, 0xff, 0xff, 0xff, 'h'})
		says("a large frame that does not come", address, secure, []byte{4, 0xff, 0xff, 0xff, 'h'})
		says("another kind", address, secure, []byte{0, 0, 0, 3, 'r', 1, 2})
		says("no JSON", address, secure, []byte{0, 0, 0, 3, 'h', '{', '{'})
		says("another's name", address, secure, hello("n2"))
		says("its own name", address, secure, hello("intruder"))
		says("nothing", address, secure)
		for range 300 { // of each, one byte at a time
			conn := open(address, nil)
			_, _ = conn.Write([]byte{22})
			slow = append(slow, conn)
		}
	}
	for i := range 20 {
		for _, conn := range slow {
			_, _ = conn.Write([]byte{3})
		}
		c.register(fmt.Sprint("beside-", i), ids[i%3])
	}
	for _, conn := range slow {
		_ = conn.SetReadDeadline(time.Now().Add(time.Minute))
		if _, err := io.Copy(io.Discard, conn); os.IsTimeout(err) {
			t.Error("a connection on which nothing whole comes is kept")
		}
		_ = conn.Close()
	}
	c.equal(ids...)
	if now := c.status("n1").Term; now != term {
		t.Logf("the term was %d and is %d", term, now)
	}
}
