// Package dns answers questions about the live instances over DNS, in the names that Consul uses. It is authoritative for
// its zones only: it refuses names outside of them, and asks no other server.
//
// The package promises that equal questions at one moment get answers from one list of instances, that an instance which
// is not ready is in no answer about its service, and that a reply which had to be cut says so (TC), so that the client
// asks again over TCP. Who may ask is left to the listener's address: DNS carries no token.
package dns

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/netip"
	"strings"
	"sync"
	"time"

	"github.com/miekg/dns"
	"golang.org/x/sync/errgroup"

	"github.com/rollcall-registry/rollcall/queries/wire"
)

// Registry is where answers come from: the catalog of a registry, or the cache of an agent.
type Registry interface {
	// Find is the group of instances of the namespace's service whose name in lower case is name; ok is false if there is
	// no live instance.
	Find(namespace, name string) (group Group, ok bool)
	HasNamespace(namespace string) bool
	// Nodes is the group of the instances that stand for nodes of the namespace (wire.NodeService), whose checks count for what is
	// at these nodes, also where the service itself is in no answer.
	Nodes(namespace string) (group Group, ok bool)
	// All yields every live instance, in any order.
	All(yield func(wire.Instance) bool)
	// Rights changes whenever All yields other instances because whoever asks may see others than before.
	Rights() uint64
	// Ready says why no answer should be given, nil if answers may be given.
	Ready() error
}

// Group is the instances of a service at one moment. It never changes.
type Group interface {
	Instances() []wire.Instance
	// Value gives what the first call's make gave for that name.
	Value(name string, make func() any) any
}

// Options are what a server can be told. The zero value of a field means its default.
type Options struct {
	Zones      []string      // names of zones, with or without the dot at the end; default consul and rollcall
	Datacenter string        // the label that Consul's names may end with; default dc1
	TTL        time.Duration // of all records, whole seconds; default 0 with which nobody may keep an answer
	RateLimit  int           // replies a second over UDP to one network (/24, /56) that is not loopback; 0: no limit
	Now        func() time.Time
	Observer   Observer
	Logger     *slog.Logger
}

// Observer is told of every reply, and of those that are not sent.
type Observer interface {
	Answered(kind, rcode string, took time.Duration, truncated bool)
	Limited() // a reply was left out or cut, for its network had too many
	LeftOut() // a question was left out, for too many waited
}

// Server answers questions.
type Server struct {
	registry Registry
	options  Options
	zones    []string // lower case, with a dot at both ends
	ttl      uint32   // seconds
	limiter  *limiter // nil: no limit
	turns    *turns
	list     list
}

// New is a server of a registry's instances.
func New(registry Registry, options Options) (*Server, error) {
	if len(options.Zones) == 0 {
		options.Zones = []string{"consul", "rollcall"}
	}
	if options.Datacenter == "" {
		options.Datacenter = "dc1"
	}
	if options.Now == nil {
		options.Now = time.Now
	}
	if options.Logger == nil {
		options.Logger = slog.New(slog.DiscardHandler)
	}
	s := &Server{registry: registry, options: options, turns: newTurns()}
	for _, zone := range options.Zones {
		name := dns.Fqdn(strings.ToLower(zone))
		if _, ok := dns.IsDomainName(name); !ok || name == "." || strings.Contains(name, `\`) {
			return nil, fmt.Errorf("a zone must be a domain name such as rollcall, not %q", zone)
		}
		s.zones = append(s.zones, "."+name)
	}
	if !isDatacenter(options.Datacenter) {
		return nil, fmt.Errorf("a datacenter must be 1-63 letters, digits, - and _, not %q", options.Datacenter)
	}
	if options.TTL < 0 || options.TTL > maxTTL || options.TTL%time.Second != 0 {
		return nil, fmt.Errorf("the ttl of DNS records must be whole seconds from 0s to %s, not %s", maxTTL, options.TTL)
	}
	s.ttl = uint32(options.TTL / time.Second)
	if options.RateLimit < 0 {
		return nil, fmt.Errorf("the rate limit of DNS must not be negative, not %d", options.RateLimit)
	}
	if options.RateLimit > 0 {
		s.limiter = newLimiter(options.RateLimit, options.Now)
	}
	return s, nil
}

// isDatacenter says whether a datacenter can stand in a name, as Consul's rule is.
func isDatacenter(name string) bool {
	const allowed = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-_"
	return name != "" && len(name) <= 63 && strings.Trim(name, allowed) == ""
}

// maxTTL is the longest time for which others may keep an answer.
const maxTTL = time.Hour

// Limits of a server.
const (
	udpQuestion = 4096             // bytes of a question over UDP
	tcpIdle     = 10 * time.Second // how long a connection may be silent
	tcpAtOnce   = 1000             // connections over TCP; for one more, the one that was silent for longest is closed
	drain       = 2 * time.Second  // for questions that are being answered at the shutdown
	// writeTimeout is how long a client over TCP may take to make space for a reply.
	writeTimeout = 2 * time.Second
)

// Serve answers on a UDP and a TCP listener of one port until the context ends, and closes both.
func (s *Server) Serve(ctx context.Context, packets net.PacketConn, streams net.Listener) error {
	started := make(chan struct{}, 2)
	note := func() { started <- struct{}{} }
	servers := []*dns.Server{
		{PacketConn: packets, Handler: s, UDPSize: udpQuestion, DecorateWriter: s.limitRefusals, NotifyStartedFunc: note},
		{
			Listener: newCrowd(streams, tcpAtOnce), Handler: s, IdleTimeout: func() time.Duration { return tcpIdle }, NotifyStartedFunc: note,
			MaxTCPQueries: -1, // any number: a connection that is closed while questions are in it loses the replies, too
		},
	}
	group, ctx := errgroup.WithContext(ctx)
	for _, server := range servers {
		group.Go(func() error {
			if err := server.ActivateAndServe(); err != nil && ctx.Err() == nil {
				return fmt.Errorf("dns: %w", err)
			}
			return nil
		})
	}
	group.Go(func() error {
		for range servers { // a server that has not started cannot be shut down
			select {
			case <-started:
			case <-time.After(drain):
			}
		}
		<-ctx.Done()
		ending, cancel := context.WithTimeout(context.Background(), drain)
		defer cancel()
		for _, server := range servers {
			_ = server.ShutdownContext(ending)
		}
		return errors.Join(ignoreClosed(packets.Close()), ignoreClosed(streams.Close()))
	})
	return group.Wait()
}

func ignoreClosed(err error) error {
	if errors.Is(err, net.ErrClosed) {
		return nil
	}
	return err
}

// Listen opens both listeners on an address. Port 0 becomes the same free port for both.
func Listen(address string) (net.PacketConn, net.Listener, error) {
	const attempts = 10 // the port that is free over TCP may be taken over UDP
	for attempt := 1; ; attempt++ {
		streams, err := net.Listen("tcp", address)
		if err != nil {
			return nil, nil, err
		}
		packets, err := net.ListenPacket("udp", streams.Addr().String())
		if err == nil {
			return packets, streams, nil
		}
		streams.Close()
		_, port, _ := net.SplitHostPort(address)
		if port != "0" || attempt == attempts {
			return nil, nil, err
		}
	}
}

// ServeDNS answers one question.
func (s *Server) ServeDNS(w dns.ResponseWriter, question *dns.Msg) {
	began := s.options.Now()
	_, udp := w.LocalAddr().(*net.UDPAddr)
	from := addressOf(w.RemoteAddr())
	verdict := allowed
	if udp {
		verdict = s.limit(from)
	}
	if verdict == dropped {
		return
	}
	if !s.turns.take(udp) {
		if s.options.Observer != nil {
			s.options.Observer.LeftOut()
		}
		return
	}
	buffer := buffers.Get().(*[]byte)
	defer buffers.Put(buffer) // whoever wrote the reply keeps none of it
	reply, packed := s.encoded(question, udp, from, addressOf(w.LocalAddr()), verdict == slipped, *buffer)
	if _, err := w.Write(packed); err != nil {
		s.options.Logger.Debug("a DNS reply could not be sent", "cause", err)
	}
	if s.options.Observer != nil {
		s.options.Observer.Answered(kindOf(question), dns.RcodeToString[reply.Rcode], s.options.Now().Sub(began), reply.Truncated)
	}
}

// encoded is the reply to a question that has a turn, and gives the turn back. The reply is in the buffer where it fits.
func (s *Server) encoded(question *dns.Msg, udp bool, from, here netip.Addr, truncateOnly bool, buffer []byte) (*dns.Msg, []byte) {
	defer s.turns.give()
	reply := s.answer(question, from, here)
	size := dns.MaxMsgSize
	if udp {
		size = udpSize(question, from)
	}
	if truncateOnly {
		reply.Answer, reply.Ns, reply.Truncated = nil, nil, true
		keepOnlyOPT(reply)
	}
	packed, err := pack(reply, size, buffer)
	if err != nil { // a name that DNS cannot carry
		s.options.Logger.Error("a DNS reply could not be encoded", "question", question.Question, "cause", err)
		reply = new(dns.Msg).SetRcode(question, dns.RcodeServerFailure)
		packed, _ = reply.Pack()
	}
	return reply, packed
}

// kindOf is the type of the question, for metrics: of the types that are answered, or "other".
func kindOf(question *dns.Msg) string {
	if len(question.Question) == 1 {
		switch t := question.Question[0].Qtype; t {
		case dns.TypeA, dns.TypeAAAA, dns.TypeSRV, dns.TypeTXT, dns.TypeSOA, dns.TypeNS, dns.TypePTR, dns.TypeANY:
			return dns.TypeToString[t]
		}
	}
	return "other"
}

// addressToward is the address of this machine from which a packet to another address goes; the zero address: it has none. Nothing is sent.
func addressToward(other netip.Addr) netip.Addr {
	c, err := net.DialUDP("udp", nil, net.UDPAddrFromAddrPort(netip.AddrPortFrom(other, 53)))
	if err != nil {
		return netip.Addr{}
	}
	defer c.Close()
	return addressOf(c.LocalAddr())
}

func addressOf(a net.Addr) netip.Addr {
	switch a := a.(type) {
	case *net.UDPAddr:
		return a.AddrPort().Addr().Unmap()
	case *net.TCPAddr:
		return a.AddrPort().Addr().Unmap()
	}
	return netip.Addr{}
}

// Bounds of a reply over UDP, in bytes.
const (
	maxUDP = 1232 // for a client that is not on this machine: larger packets would be split on the way, and lost with any of their parts
	// maxDatagram is the most that a datagram over IPv4 has: 65,535 without the headers of IP and UDP. The system sends nothing of a
	// larger one.
	maxDatagram = 65_507
)

// udpSize is how many bytes a reply over UDP may have.
func udpSize(question *dns.Msg, from netip.Addr) int {
	opt := question.IsEdns0()
	if opt == nil {
		return dns.MinMsgSize
	}
	size := min(max(int(opt.UDPSize()), dns.MinMsgSize), maxDatagram)
	if !from.IsLoopback() {
		size = min(size, maxUDP)
	}
	return size
}

// buffers are for replies on their way. A reply that is larger gets memory of its own.
var buffers = sync.Pool{New: func() any {
	b := make([]byte, usualReply)
	return &b
}}

// leastRecord is how many bytes a record has at least: a pointer to its name, its type, class, ttl and length.
const leastRecord = 12

const usualReply = 8 << 10 // bytes, uncompressed

// pack encodes a reply in at most so many bytes, into the buffer where it fits. Additional records go first, and nobody misses
// them. A reply that lacks answers says so (TC).
func pack(reply *dns.Msg, size int, buffer []byte) ([]byte, error) {
	reply.Compress = true
	if most := size / leastRecord; len(reply.Answer) > most { // before the others cost anything
		reply.Answer, reply.Truncated = reply.Answer[:most], true
		keepOnlyOPT(reply)
	}
	packed, err := reply.PackBuffer(buffer)
	if err != nil || len(packed) <= size {
		return packed, err
	}
	keepOnlyOPT(reply)
	if packed, err = reply.PackBuffer(buffer); err != nil || len(packed) <= size {
		return packed, err
	}
	reply.Truncate(size)
	return reply.PackBuffer(buffer)
}

func keepOnlyOPT(reply *dns.Msg) {
	if opt := reply.IsEdns0(); opt != nil {
		reply.Extra = []dns.RR{opt}
	} else {
		reply.Extra = nil
	}
}
