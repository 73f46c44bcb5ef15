//go:build linux

package main

import (
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// namespaces are networks of their own, one for each node of a cluster. Each has one interface, a TUN device, whose
// packets the test carries to the other nodes, or loses. So the nodes live with what happens in a real network: packets are lost,
// come late or in another order, connections hang, and an interface is down.
type namespaces struct {
	t       testing.TB
	names   map[string]string // of the namespaces, by node
	devices map[string]*os.File
	nodes   map[netip.Addr]string

	mu  sync.Mutex
	bad map[way]badness
}

// newNamespacedTrio makes three nodes, each in a network namespace of its own. The test is skipped where the machine has none.
func newNamespacedTrio(t *testing.T) (*trio, *namespaces) {
	t.Helper()
	if os.Geteuid() != 0 {
		t.Skip("network namespaces need root")
	}
	if _, err := exec.LookPath("ip"); err != nil {
		t.Skip("network namespaces need ip, of iproute2")
	}
	s := &namespaces{t: t, names: map[string]string{}, devices: map[string]*os.File{}, nodes: map[netip.Addr]string{}}
	c := &trio{t: t, nodes: map[string]*trioNode{}, certs: newAuthority(t, "cluster")}
	members := ""
	for i, id := range []string{"n1", "n2", "n3"} {
		address := netip.AddrFrom4([4]byte{10, 77, 0, byte(i + 1)})
		s.add(id, address)
		n := c.newNode(id)
		n.address = netip.AddrPortFrom(address, 7950).String()
		n.within = []string{"ip", "netns", "exec", s.names[id]}
		s.front(n)
		members += "," + id + "=" + n.address
	}
	for _, n := range c.nodes {
		t.Cleanup(func() {
			if t.Failed() && n.process != nil {
				t.Logf("%s\n%s", n.id, n.logs)
			}
		})
		n.args = append(n.args, "--cluster", members[1:])
	}
	return c, s
}

// add makes the namespace of a node.
func (s *namespaces) add(id string, address netip.Addr) {
	t := s.t
	t.Helper()
	fd, err := unix.Open("/dev/net/tun", unix.O_RDWR|unix.O_NONBLOCK|unix.O_CLOEXEC, 0)
	if err != nil {
		t.Skipf("network namespaces need TUN devices: %v", err)
	}
	name, inside := fmt.Sprintf("rollcall-%d-%s", os.Getpid(), id), fmt.Sprintf("rc%d%s", os.Getpid(), id)
	request, err := unix.NewIfreq(inside)
	if err != nil {
		t.Fatal(err)
	}
	request.SetUint16(unix.IFF_TUN | unix.IFF_NO_PI)
	if err := unix.IoctlIfreq(fd, unix.TUNSETIFF, request); err != nil {
		t.Skipf("network namespaces need TUN devices: %v", err)
	}
	device := os.NewFile(uintptr(fd), "tun") // of a device that is attached: others cannot be waited for
	t.Cleanup(func() { _ = device.Close() })
	if out, err := exec.Command("ip", "netns", "add", name).CombinedOutput(); err != nil {
		t.Skipf("no network namespace can be made: %v, %s", err, out)
	}
	t.Cleanup(func() { s.ip("netns", "del", name) })
	s.names[id], s.devices[id], s.nodes[address] = name, device, id
	s.ip("link", "set", inside, "netns", name)
	s.ip("-n", name, "link", "set", inside, "name", "tun0")
	s.ip("-n", name, "link", "set", "lo", "up")
	s.ip("-n", name, "addr", "add", address.String()+"/24", "dev", "tun0")
	s.ip("-n", name, "link", "set", "tun0", "up")
	go s.carry(id, device)
}

func (s *namespaces) ip(args ...string) {
	s.t.Helper()
	if out, err := exec.Command("ip", args...).CombinedOutput(); err != nil {
		s.t.Errorf("ip %v: %v, %s", args, err, out)
	}
}

// carry carries the packets that a node sends to the others, until the device is closed. Packets that are delayed may overtake
// each other.
func (s *namespaces) carry(from string, device *os.File) {
	packet := make([]byte, 64<<10)
	for {
		n, err := device.Read(packet)
		if errors.Is(err, os.ErrClosed) {
			return
		}
		if err != nil { // the interface is down
			time.Sleep(10 * time.Millisecond)
			continue
		}
		if n < 20 || packet[0]>>4 != 4 {
			continue
		}
		to, ok := s.nodes[netip.AddrFrom4([4]byte(packet[16:20]))]
		if !ok {
			continue
		}
		s.mu.Lock()
		b := s.bad[way{from, to}]
		s.mu.Unlock()
		if b.cut || b.loses > 0 && rand.Float64() < b.loses {
			continue
		}
		target := s.devices[to]
		if b.delay == 0 {
			_, _ = target.Write(packet[:n]) // what an interface that is down does not take is lost
			continue
		}
		late := append([]byte(nil), packet[:n]...)
		time.AfterFunc(b.delay/2+rand.N(b.delay), func() { _, _ = target.Write(late) })
	}
}

// set implements ways.
func (s *namespaces) set(bad map[way]badness) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.bad = bad
}

// front answers for a node at its address for clients, which is an address of this machine: the node is asked at the Unix socket in its
// data folder.
func (s *namespaces) front(n *trioNode) {
	s.t.Helper()
	l, err := net.Listen("tcp", n.listen)
	if err != nil {
		s.t.Fatal(err)
	}
	s.t.Cleanup(func() { _ = l.Close() })
	go func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			go func() {
				defer c.Close()
				node, err := net.Dial("unix", filepath.Join(n.data, socketName))
				if err != nil {
					return
				}
				defer node.Close()
				done := make(chan struct{}, 2)
				for _, pair := range [][2]net.Conn{{c, node}, {node, c}} {
					go func() {
						defer func() { done <- struct{}{} }()
						_, _ = io.Copy(pair[0], pair[1])
					}()
				}
				<-done
			}()
		}
	}()
}

// In namespaces of their own, the nodes are tortured as those of TestAClusterIsTortured are, and packets are lost besides.
func TestAClusterInNamespacesIsTortured(t *testing.T) {
	lasting := tortureLasts(t)
	c, between := newNamespacedTrio(t)
	c.torture(between, lasting)
}

// cutOffBy are the nodes that no other one reaches in both directions, as a connection must.
func cutOffBy(bad map[way]badness, ids []string) (all []string) {
	for _, id := range ids {
		alone := true
		for _, other := range ids {
			alone = alone && (other == id || bad[way{id, other}].cut || bad[way{other, id}].cut)
		}
		if alone {
			all = append(all, id)
		}
	}
	return all
}

// However the network falls apart, whoever is left with a majority goes on, no node that is cut off acknowledges anything, and all go
// on when the network is whole again.
func TestAClusterInNamespacesFallsApartInAnyShape(t *testing.T) {
	tortureLasts(t)
	c, between := newNamespacedTrio(t)
	ids := []string{"n1", "n2", "n3"}
	c.start(ids...)
	var acknowledged, refused []string
	attempts := 0
	// writes has one of the nodes acknowledge a registration.
	writes := func(what string, at ...string) {
		id := fmt.Sprint("a-", len(acknowledged))
		t.Log(what, at)
		c.register(id, at...)
		acknowledged = append(acknowledged, id)
	}
	silent := func(what string, at ...string) {
		for _, id := range at {
			c.until(what+": "+id+" takes no commands", func() error {
				attempts++
				instance := fmt.Sprint("b-", attempts)
				status, body, err := c.nodes[id].send("PUT", "/v1/services/web/instances/"+instance, `{"address":"10.0.0.2","ttl":"none"}`)
				if err == nil && !strings.Contains(string(body), "no-leader") {
					err = fmt.Errorf("%d %s", status, body)
				}
				if err == nil {
					refused = append(refused, instance)
				}
				return err
			})
		}
	}
	for _, whom := range []string{"the leader", "a follower"} {
		for shape, cut := range cuts {
			leader, others := c.leader(ids[0])
			victim := leader
			if whom != "the leader" {
				victim, others = others[0], []string{leader, others[1]}
			}
			what := whom + " " + shape
			between.set(cut(victim, ids))
			switch cutOff := cutOffBy(cut(victim, ids), ids); len(cutOff) {
			case 0: // one node reaches both others
				writes(what, ids...)
			case 1:
				silent(what, victim)
				writes(what, others...)
			default:
				silent(what, ids...)
			}
			between.set(nil)
			for _, id := range ids {
				writes("whole again after "+what, id)
			}
		}
	}
	for _, id := range ids {
		others := []string{after(id, ids), after(after(id, ids), ids)}
		between.ip("-n", between.names[id], "link", "set", "tun0", "down")
		writes("the interface of "+id+" is down", others...)
		between.ip("-n", between.names[id], "link", "set", "tun0", "up")
		writes("the interface is up again", id)
	}
	c.equal(ids...)
	for _, id := range ids {
		c.has(id, acknowledged...)
		have := c.nodes[id].instances("web")
		for _, instance := range refused {
			if _, there := have[instance]; there {
				t.Errorf("%s has %s, which was refused", id, instance)
			}
		}
	}
}
