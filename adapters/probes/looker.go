package probes

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"net"
	"net/http"
	"net/netip"
	"os"
	"strconv"
	"strings"
	"time"

	"github.com/rollcall-registry/rollcall/domain"
)

// Looker carries out probes. It may be used from any goroutine. It judges no check: a look says what was seen.
type Looker struct {
	reach     domain.Reach
	roots     *x509.CertPool // nil: the system's
	resolve   func(ctx context.Context, host string) ([]netip.Addr, error)
	dialer    net.Dialer
	transport *http.Transport
	now       func() time.Time
}

// The bounds of a look. A target chooses what it answers, so nothing of it is read without a bound.
const (
	maxBody      = 4 << 10  // bytes of a body that are read
	maxHeaders   = 16 << 10 // bytes of an answer's headers
	maxRedirects = 5
	maxIdle      = 4096             // connections that are kept for the next look
	maxIdleEach  = 4                // of these, those to one target
	idleFor      = 90 * time.Second // a connection that was not used for this long is closed
)

// LookerOptions say how probes are carried out.
type LookerOptions struct {
	Reach   domain.Reach
	Roots   *x509.CertPool                                               // authorities that sign targets' certificates; nil: the system's
	Resolve func(ctx context.Context, host string) ([]netip.Addr, error) // nil: the system's resolver
	Now     func() time.Time
}

// NewLooker makes a Looker.
func NewLooker(o LookerOptions) *Looker {
	l := &Looker{reach: o.Reach, roots: o.Roots, resolve: o.Resolve, now: o.Now}
	if l.resolve == nil {
		l.resolve = func(ctx context.Context, host string) ([]netip.Addr, error) {
			return net.DefaultResolver.LookupNetIP(ctx, "ip", host)
		}
	}
	l.dialer.KeepAlive = -1 // a look has a deadline of its own
	l.transport = &http.Transport{
		DialContext: l.dialHTTP, DialTLSContext: l.dialHTTPS,
		DisableCompression: true, // a few bytes could become many
		MaxIdleConns:       maxIdle, MaxIdleConnsPerHost: maxIdleEach, IdleConnTimeout: idleFor,
		MaxResponseHeaderBytes: maxHeaders, ReadBufferSize: 1 << 10, WriteBufferSize: 1 << 10,
		Protocols: onlyHTTP1(),
	}
	return l
}

func onlyHTTP1() *http.Protocols {
	p := new(http.Protocols)
	p.SetHTTP1(true)
	return p
}

// Close closes the connections that are kept.
func (l *Looker) Close() { l.transport.CloseIdleConnections() }

// Finding is what a look saw.
type Finding struct {
	Passed bool
	Warned bool   // the target answered with a status of HTTP that is a warning
	Status int    // of HTTP, or of the health protocol of gRPC; 0: there was no answer
	Err    error  // why there was no answer, or not a whole one, or the error that a server of gRPC answered with (told)
	Body   []byte // what the answer began with; it is valid until the buffer of the look is used again
	Took   time.Duration
	// Answered says that the target answered, though Err and Status may not show it.
	Answered bool
	Began    bool    // something came of an answer of HTTP, but no whole head of one
	At       *Target // where redirects led; nil: there was none
}

// Look looks at a target once. It ends within the target's timeout. address is the instance's own. buffer has at least
// maxBody bytes.
func (l *Looker) Look(ctx context.Context, t *Target, address string, buffer []byte) (f Finding) {
	ctx, cancel := context.WithTimeout(ctx, t.Timeout)
	defer cancel()
	began := l.now()
	switch t.Kind {
	case HTTP:
		f = l.lookHTTP(ctx, t, address, buffer)
	case TCP:
		f = l.lookTCP(ctx, t, address)
	case GRPC:
		f = l.lookGRPC(ctx, t, address)
	}
	f.Took = l.now().Sub(began)
	late := errors.Is(ctx.Err(), context.DeadlineExceeded) || errors.Is(f.Err, os.ErrDeadlineExceeded)
	if f.Err != nil && late && !errors.As(f.Err, new(told)) && !errors.As(f.Err, new(*net.DNSError)) {
		f.Err = context.DeadlineExceeded // the other errors are its consequences
	}
	return f
}

// place is where a look connects to. Its key says all that makes a connection fit for another look.
type place struct {
	target *Target
	ips    []netip.Addr
	roots  *x509.CertPool
}

// refused is the error of a target that must not be probed.
type refused struct{ why string }

func (r refused) Error() string { return r.why }

// place resolves the target's host and holds each address to the rule of targets. Every look does so, because the
// addresses of a name can change at any time.
func (l *Looker) place(ctx context.Context, t *Target, address string) (p place, err error) {
	p = place{target: t, roots: l.roots}
	if t.Port == 0 {
		return p, refused{"the instance has no port of that name"}
	}
	if p.ips, err = l.addresses(ctx, t.Host); err != nil {
		return p, err
	}
	own := p.ips
	if !strings.EqualFold(t.Host, address) {
		if own, err = l.addresses(ctx, address); err != nil && literal(t.Host).IsValid() {
			own = nil // the target may be in a network that is allowed
		}
	}
	allowed, why := p.ips[:0:0], ""
	for _, ip := range p.ips {
		if no := l.reach.Refusal(ip, own...); no != "" {
			why = ip.String() + " " + no
			continue
		}
		allowed = append(allowed, ip.Unmap())
	}
	if len(allowed) == 0 {
		return p, refused{why}
	}
	p.ips = allowed
	return p, nil
}

func (l *Looker) addresses(ctx context.Context, host string) ([]netip.Addr, error) {
	if ip := literal(host); ip.IsValid() {
		return []netip.Addr{ip}, nil
	}
	ips, err := l.resolve(ctx, host)
	switch {
	case err == nil && len(ips) == 0:
		err = &net.DNSError{Err: "no address", Name: host, IsNotFound: true}
	case err != nil && ctx.Err() != nil: // the target was not asked
		err = &net.DNSError{Err: "no answer in time", Name: host, IsTimeout: true, UnwrapErr: ctx.Err()}
	}
	return ips, err
}

// key names the place for the pool of connections of net/http, in the form of a host: looks with the same key may share
// connections.
func (p *place) key() string {
	b := make([]byte, 0, 64)
	for i, ip := range p.ips {
		if i > 0 {
			b = append(b, '_')
		}
		if ip.Is4() {
			b = ip.AppendTo(b)
			continue
		}
		from := len(b)
		for b = ip.AppendTo(b); from < len(b); from++ {
			if b[from] == ':' {
				b[from] = '-'
			}
		}
	}
	if p.target.TLS {
		b = append(b, '/')
		b = append(b, p.target.serverName()...)
		if p.target.extra().Unverified {
			b = append(b, "/any"...)
		}
	}
	b = append(b, ':')
	return string(strconv.AppendUint(b, uint64(p.target.Port), 10))
}

// dial connects to the first address that answers.
func (l *Looker) dial(ctx context.Context, p *place) (conn net.Conn, err error) {
	for _, ip := range p.ips {
		var failed error
		if conn, failed = l.dialer.DialContext(ctx, "tcp", netip.AddrPortFrom(ip, p.target.Port).String()); failed == nil {
			return conn, nil
		}
		err = errors.Join(err, failed)
	}
	return nil, err
}

// dialTLS is dial with a handshake.
func (l *Looker) dialTLS(ctx context.Context, p *place) (net.Conn, error) {
	conn, err := l.dial(ctx, p)
	if err != nil {
		return nil, err
	}
	secure := tls.Client(conn, p.tls())
	if err := secure.HandshakeContext(ctx); err != nil {
		return nil, errors.Join(err, conn.Close())
	}
	return secure, nil
}

func (p *place) tls() *tls.Config {
	return &tls.Config{ServerName: p.target.serverName(), RootCAs: p.roots, InsecureSkipVerify: p.target.extra().Unverified}
}

func (l *Looker) lookTCP(ctx context.Context, t *Target, address string) Finding {
	p, err := l.place(ctx, t, address)
	if err != nil {
		return Finding{Err: err}
	}
	open := l.dial
	if t.TLS {
		open = l.dialTLS
	}
	conn, err := open(ctx, &p)
	if err != nil {
		return Finding{Err: err}
	}
	_ = conn.Close() // the connection was opened, which is all that was asked
	return Finding{Passed: true}
}

// answered says whether the target answered at all. A handshake that its certificate failed is an answer, too, and so is what is
// no HTTP: the target was reached.
func (f Finding) answered() bool {
	return f.Err == nil || f.Status != 0 || f.Answered || f.Began ||
		errors.As(f.Err, new(*tls.CertificateVerificationError)) || errors.As(f.Err, new(tls.RecordHeaderError)) || errors.As(f.Err, new(tls.AlertError))
}
