package web

import (
	"fmt"
	"io"
	"math"
	"net/http"
	"net/netip"
	"strconv"
	"sync"
	"sync/atomic"
	"time"

	"github.com/labstack/echo/v4"
	"golang.org/x/time/rate"

	"github.com/rollcall-registry/rollcall/domain"
)

// Limit is what is limited.
type Limit int

// The limits of a caller.
const (
	Requests   Limit = iota // requests a second; a batch counts its items
	Heartbeats              // heartbeats of known instances a second
	Bytes                   // bytes a second of bodies, requests' and replies' together, but of heartbeats
	limits
)

func (l Limit) String() string { return [...]string{"requests", "heartbeats", "bytes"}[l] }

// AllLimits are the names of the limits.
func AllLimits() []string { return []string{Requests.String(), Heartbeats.String(), Bytes.String()} }

const (
	// burst is how many seconds' worth a caller may use at once after a pause.
	burst = 2
	// longestDebt is how many seconds' worth a caller can owe. What a request costs is partly known only when it is done: a
	// batch of many items, a large reply. The caller's next requests then wait until that is paid.
	longestDebt = 10
	// forgetAfter is how long after its last request a caller is forgotten, at least; twice as long at most. By then no
	// caller owes anything.
	forgetAfter = time.Minute
	// maxCallers is how many callers are remembered, at most, in each of two generations.
	maxCallers = 1 << 15
)

// Limits bound what each caller may ask for. A caller is a token, or for callers without one the source: an IPv4 address,
// an IPv6 network of 64 bits, or what else the trusted proxies say. The socket's user has no limits. A nil *Limits bounds
// nothing.
type Limits struct {
	perSecond [limits]float64 // 0: no limit
	limited   func(Limit)     // called for each request that is refused
	now       func() time.Time

	generation atomic.Uint64 // changes when callers are forgotten

	mu      sync.Mutex
	begun   time.Time // of the generation
	callers map[callerName]*account
	before  map[callerName]*account // of the generation before
}

// callerName is a token's name, or a source.
type callerName struct {
	token   bool
	name    string
	network netip.Addr // instead of the name: the lowest address of the source's network
}

// account has what a caller may still use.
type account struct {
	buckets   [limits]*rate.Limiter // nil: no limit
	givenBack [limits]atomic.Int64  // what Take uses before it uses the bucket
}

// NewLimits makes limits from the amounts a second by Limit; 0: no limit. The result is nil if there is none.
func NewLimits(perSecond map[Limit]float64, limited func(Limit), now func() time.Time) *Limits {
	l := &Limits{limited: limited, now: now, begun: now(), callers: map[callerName]*account{}}
	none := true
	for limit, amount := range perSecond {
		l.perSecond[limit] = amount
		none = none && amount == 0
	}
	if none {
		return nil
	}
	return l
}

// nameOf is the name under which a caller is limited; ok is false for the socket's user.
func nameOf(who *Identity, source string) (name callerName, ok bool) {
	switch {
	case who == nil || !who.Local && who.Name == domain.Anonymous:
	case who.Local:
		return name, false
	default:
		return callerName{token: true, name: who.Name}, true
	}
	address := AddressOf(source)
	switch {
	case !address.IsValid():
		name.name = SourceOf(source)
	case address.Is6():
		network, err := address.Prefix(64)
		if err != nil {
			return name, false // an address of 128 bits has a prefix of 64
		}
		name.network = network.Addr()
	default:
		name.network = address
	}
	return name, true
}

// Account is what a caller may use, as one connection or request sees it. Its zero value has no limits. One goroutine at a
// time uses an Account.
type Account struct {
	limits     *Limits
	name       callerName
	account    *account
	generation uint64
}

// Account finds the account of a caller. who is nil if the caller is not known.
func (l *Limits) Account(who *Identity, source string) Account {
	if l == nil {
		return Account{}
	}
	name, ok := nameOf(who, source)
	if !ok {
		return Account{}
	}
	return Account{limits: l, name: name}
}

// current is the caller's account. An account that may have been forgotten meanwhile is looked up again, so that all
// connections of a caller use one.
func (a *Account) current() *account {
	if generation := a.limits.generation.Load(); a.account == nil || a.generation != generation {
		a.account, a.generation = a.limits.find(a.name)
	}
	return a.account
}

func (l *Limits) find(name callerName) (*account, uint64) {
	now := l.now()
	l.mu.Lock()
	defer l.mu.Unlock()
	if now.Sub(l.begun) >= forgetAfter || len(l.callers) >= maxCallers {
		l.begun, l.before, l.callers = now, l.callers, map[callerName]*account{}
		l.generation.Add(1)
	}
	found := l.callers[name]
	if found == nil {
		if found = l.before[name]; found == nil {
			found = l.newAccount()
		}
		l.callers[name] = found
	}
	return found, l.generation.Load()
}

func (l *Limits) newAccount() *account {
	a := &account{}
	for limit, amount := range l.perSecond {
		if amount > 0 {
			a.buckets[limit] = rate.NewLimiter(rate.Limit(amount), max(1, int(math.Ceil(amount*burst))))
		}
	}
	return a
}

// LimitExceeded refuses a request whose caller has used what it may.
type LimitExceeded struct {
	Limit     Limit
	PerSecond float64
	After     time.Duration // when a request may be accepted again
}

func (e LimitExceeded) Error() string {
	return fmt.Sprintf("the caller may have %s %s a second, and has used them; try again in %s s", strconv.FormatFloat(e.PerSecond, 'f', -1, 64), e.Limit, e.retryAfter())
}

// retryAfter is the header's value: whole seconds, at least 1.
func (e LimitExceeded) retryAfter() string {
	return strconv.Itoa(max(1, int(math.Ceil(e.After.Seconds()))))
}

// Take uses one of a limit, if the caller owes no bytes.
func (a *Account) Take(limit Limit) error {
	if a.limits == nil {
		return nil
	}
	account, now := a.current(), a.limits.now()
	if owed := account.buckets[Bytes]; owed != nil && limit != Heartbeats {
		if left := owed.TokensAt(now); left <= 0 {
			return a.exceeded(Bytes, 1-left)
		}
	}
	if b := account.buckets[limit]; b != nil && !account.takeBack(limit) && !b.AllowN(now, 1) {
		return a.exceeded(limit, 1-b.TokensAt(now))
	}
	return nil
}

// GiveBack undoes a Take, for a request that somebody else answers, who takes again.
func (a *Account) GiveBack(limit Limit) {
	if a.limits != nil && a.limits.perSecond[limit] > 0 {
		a.current().givenBack[limit].Add(1)
	}
}

func (a *account) takeBack(limit Limit) bool {
	for {
		n := a.givenBack[limit].Load()
		if n == 0 {
			return false
		}
		if a.givenBack[limit].CompareAndSwap(n, n-1) {
			return true
		}
	}
}

func (a *Account) exceeded(limit Limit, lacking float64) error {
	perSecond := a.limits.perSecond[limit]
	return LimitExceeded{limit, perSecond, time.Duration(lacking / perSecond * float64(time.Second))}
}

// Charge notes what a request has cost beside what Take has used.
func (a *Account) Charge(limit Limit, n int) {
	if a.limits == nil || n <= 0 {
		return
	}
	b := a.current().buckets[limit]
	if b == nil {
		return
	}
	now := a.limits.now()
	n = min(n, int(b.TokensAt(now)+longestDebt*float64(b.Limit())))
	for n > 0 {
		part := min(n, b.Burst())
		b.ReserveN(now, part)
		n -= part
	}
}

const accountField = "rollcall.account"

// Limit uses one of a limit for a request, before anything else is done for its caller.
func (l *Limits) Limit(c echo.Context, who *Identity, limit Limit) error {
	if l == nil {
		return nil
	}
	a := l.Account(who, c.Request().RemoteAddr)
	if err := a.Take(limit); err != nil {
		if l.limited != nil {
			l.limited(err.(LimitExceeded).Limit)
		}
		return err
	}
	c.Set(accountField, &a)
	return nil
}

// Charge notes what a request has cost beside the one that Limit has used.
func Charge(c echo.Context, limit Limit, n int) {
	if a, ok := c.Get(accountField).(*Account); ok {
		a.Charge(limit, n)
	}
}

// Count is the middleware that charges callers for the bytes of bodies. uncounted says of which requests the bytes do not
// count. streams says which replies have no end: their bytes are charged when they are written, and a stream is not cut off for
// what its caller owes.
func (l *Limits) Count(uncounted, streams func(echo.Context) bool) echo.MiddlewareFunc {
	return func(next echo.HandlerFunc) echo.HandlerFunc {
		return func(c echo.Context) error {
			if l == nil || uncounted(c) {
				return next(c)
			}
			if streams(c) {
				c.Response().Writer = &countedWriter{c.Response().Writer, c}
				return next(c)
			}
			body := &countedBody{ReadCloser: c.Request().Body}
			c.Request().Body = body
			defer func() { Charge(c, Bytes, body.read+int(c.Response().Size)) }()
			return next(c)
		}
	}
}

type countedWriter struct {
	http.ResponseWriter
	c echo.Context
}

// Write implements io.Writer.
func (w *countedWriter) Write(p []byte) (int, error) {
	Charge(w.c, Bytes, len(p)) // first: whoever has read this may ask for more at once
	return w.ResponseWriter.Write(p)
}

// Unwrap is for http.ResponseController.
func (w *countedWriter) Unwrap() http.ResponseWriter { return w.ResponseWriter }

type countedBody struct {
	io.ReadCloser
	read int // bytes
}

// Read implements io.Reader.
func (b *countedBody) Read(p []byte) (int, error) {
	n, err := b.ReadCloser.Read(p)
	b.read += n
	return n, err
}
