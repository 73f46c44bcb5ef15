// Package watch keeps the instances of services in memory, as a registry has them. One stream tells of all services that
// a process watches, or of the whole catalog.
//
// A Watcher never ends because the registry is away: it keeps the newest instances it knows and says how old they are
// (State.Age). With a cache file, it knows the instances of its last run before the registry has answered.
package watch

import (
	"cmp"
	"context"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/rollcall-registry/rollcall/adapters/client"
	"github.com/rollcall-registry/rollcall/domain"
	"github.com/rollcall-registry/rollcall/queries/wire"
)

// Options are the options of a Watcher. The zero value is usable.
type Options struct {
	// Cache is a file in which the Watcher keeps the instances for its next start. It is replaced atomically. "": none.
	Cache string
	// OnChange is called when the stream is lost, refused or back, and when the cache cannot be read or written, or can again. It must
	// not block. nil: no call.
	OnChange func(State)
}

// Pauses of a Watcher.
const (
	gather      = 20 * time.Millisecond // services that are added within this time begin with one stream
	refusedWait = 10 * time.Second      // after the registry refused the stream
	cacheEvery  = 2 * time.Second       // the shortest time between two writes of the cache
	cacheCost   = 100                   // and this many times as long as a write took
)

// State is how current the instances of a Watcher are.
type State struct {
	Live bool      // the stream is up
	At   time.Time // the instances were right at this time; zero: the registry has told nothing yet
	Err  error     // why the stream is not up; or a *CacheFailed; nil: nothing failed
}

// Age is how old the instances are. While the stream is up, it is the time since the stream brought bytes, at most two
// keep-alives. Where nothing is known, it is the greatest duration.
func (s State) Age() time.Duration {
	if s.At.IsZero() {
		return 1<<63 - 1
	}
	return max(time.Since(s.At), 0)
}

// Watcher watches services. Several goroutines may use it.
type Watcher struct {
	client  *client.Client
	options Options
	began   time.Time
	heard   atomic.Int64  // when the stream brought bytes, nanoseconds since began; see heardAt
	done    chan struct{} // closed when run has ended

	mu       sync.Mutex
	services map[domain.ServiceKey]*service
	length   int           // of the names of the services, in the request of a stream
	grown    chan struct{} // holds a token when services were added that the stream does not tell of; never closed
	dirty    chan struct{} // holds a token when the cache is to be written; never closed
	live     bool
	at       time.Time                           // while the stream is not up: when the instances were right
	err      error                               // why the stream is not up
	uncached *CacheFailed                        // why the cache could not be read or written last; nil: it could
	cached   map[domain.ServiceKey]cachedService // what the cache has of services that are not watched yet
	panics   map[domain.ServiceKey]*wire.Panic   // as the registry said of services that are followed, or the cache of others
	whole    *whole                              // nil: services are watched by their names only
	// cachedAll is when the cache had every service with instances; zero: it never had.
	cachedAll time.Time
}

// service is what a Watcher knows of one service. Its fields but instances belong to the Watcher's mu.
type service struct {
	key       domain.ServiceKey
	instances atomic.Pointer[[]*wire.Instance] // sorted by id; nil: not known
	handles   int
	followed  bool      // the stream, up or not, was asked for the service
	told      bool      // a stream has told of the service
	at        time.Time // until then: when what the cache has was right
	known     chan struct{}
	listeners map[*func([]*wire.Instance)]struct{}
}

// Start makes a Watcher that runs until the context ends.
func Start(ctx context.Context, c *client.Client, options Options) *Watcher {
	w := &Watcher{
		began: time.Now(), client: c, options: options, done: make(chan struct{}), services: map[domain.ServiceKey]*service{},
		grown: make(chan struct{}, 1), dirty: make(chan struct{}, 1), cached: map[domain.ServiceKey]cachedService{},
		panics: map[domain.ServiceKey]*wire.Panic{},
	}
	w.loadCache()
	go w.run(ctx)
	return w
}

// Done is closed when the Watcher has ended, and has written its cache.
func (w *Watcher) Done() <-chan struct{} { return w.done }

// State is how current the instances are.
func (w *Watcher) State() State {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.state()
}

func (w *Watcher) state() State {
	s := State{Live: w.live, At: w.at, Err: w.err}
	if s.Err == nil && w.uncached != nil {
		s.Err = w.uncached
	}
	if w.live {
		s.At = w.heardAt()
	}
	return s
}

// heardAt is when the stream brought bytes. It is as long ago as the monotonic clock says, whatever steps the wall clock made.
func (w *Watcher) heardAt() time.Time {
	now := time.Now()
	return now.Add(time.Duration(w.heard.Load()) - now.Sub(w.began))
}

// A request for a stream names the services. A registry takes this many services, and headers of this many bytes.
const (
	maxServices = 2_000
	maxLength   = 60_000
)

// cost is how many bytes a service takes in the request.
func cost(key domain.ServiceKey) int {
	return len("&service=%2F") + len(key.Namespace) + len(key.Service)
}

// TooMany refuses a service that does not fit into the request for one stream: about 2,000 services with names of 20 bytes
// do. Another Watcher can watch it.
type TooMany struct{ Service domain.ServiceKey }

func (e TooMany) Error() string {
	return "too many services are watched with one stream to watch " + e.Service.String() + ", too"
}

// Service is a service that is watched until Close.
type Service struct {
	w    *Watcher
	of   *service
	once sync.Once
}

// Service watches a service. A key without a namespace is of the client's namespace.
func (w *Watcher) Service(key domain.ServiceKey) (*Service, error) {
	key.Namespace = cmp.Or(key.Namespace, w.client.Namespace())
	if err := key.Validate(); err != nil {
		return nil, err
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	s := w.services[key]
	if s == nil {
		if w.whole == nil && (w.length+cost(key) > maxLength || len(w.services) == maxServices) {
			return nil, TooMany{key}
		}
		s = w.entry(key)
		c, ok := w.cached[key]
		switch {
		case w.whole != nil && w.whole.told: // of what is not in the catalog, it is known that there is none
			s.told, s.followed = true, true
			w.set(s, nil)
		case w.whole != nil && !w.whole.at.IsZero():
			s.at = w.whole.at
			w.set(s, nil)
		case ok:
			delete(w.cached, key)
			s.at = c.at
			w.set(s, c.instances)
		}
		if w.whole == nil {
			signal(w.grown)
		}
	}
	if s.handles == 0 {
		w.length += cost(key)
	}
	s.handles++
	return &Service{w: w, of: s}, nil
}

// Close ends the watching, unless another Service of the same key is open.
func (s *Service) Close() {
	s.once.Do(func() {
		s.w.mu.Lock()
		defer s.w.mu.Unlock()
		if s.of.handles--; s.of.handles > 0 {
			return
		}
		s.w.length -= cost(s.of.key)
		if s.w.whole == nil {
			delete(s.w.services, s.of.key)
			s.w.cachedAll = time.Time{} // the cache lacks the service from now on
		}
		s.w.prune(s.of)
	})
}

// Key names the service.
func (s *Service) Key() domain.ServiceKey { return s.of.key }

// Instances are all instances of the service, ready or not, sorted by id. The caller must not change them. ok is false
// where nothing is known of the service yet.
func (s *Service) Instances() (instances []*wire.Instance, ok bool) {
	if p := s.of.instances.Load(); p != nil {
		return *p, true
	}
	return nil, false
}

// Wait waits until something is known of the service: from the registry, or from the cache. A service without instances
// is known, too.
func (s *Service) Wait(ctx context.Context) error {
	select {
	case <-s.of.known:
		return nil
	case <-ctx.Done():
		return cmp.Or(s.w.State().Err, context.Cause(ctx))
	}
}

// State is how current the instances are.
func (s *Service) State() State {
	s.w.mu.Lock()
	defer s.w.mu.Unlock()
	state := s.w.state()
	state.At = s.w.rightAt(s.of)
	return state
}

// rightAt is when the instances of a service were right. REQUIRES: the caller holds mu.
func (w *Watcher) rightAt(s *service) time.Time {
	if s.told {
		return w.state().At
	}
	return s.at
}

// Listen calls a function with the instances: at once if they are known, and after each change, in order. The function
// must not block and must not call the Watcher. stop ends that.
func (s *Service) Listen(changed func([]*wire.Instance)) (stop func()) {
	s.w.mu.Lock()
	defer s.w.mu.Unlock()
	s.of.listeners[&changed] = struct{}{}
	if p := s.of.instances.Load(); p != nil {
		changed(*p)
	}
	return func() {
		s.w.mu.Lock()
		defer s.w.mu.Unlock()
		delete(s.of.listeners, &changed)
	}
}

// set replaces a service's instances. The listeners get them first, so that what Instances gives has been listened to.
// REQUIRES: the caller holds mu; nobody changes instances afterwards.
func (w *Watcher) set(s *service, instances []*wire.Instance) {
	instances = w.marked(s.key, instances)
	for listener := range s.listeners {
		(*listener)(instances)
	}
	before := s.instances.Load()
	if w.whole != nil && (len(instances) > 0 || before != nil && len(*before) > 0) {
		for listener := range w.whole.listeners {
			(*listener)(s.key, instances)
		}
	}
	if s.instances.Swap(&instances) == nil {
		close(s.known)
	}
}

// signal puts a token into a channel that holds one.
func signal(c chan struct{}) {
	select {
	case c <- struct{}{}:
	default: // there is one
	}
}

// find is where an instance with the id is, or would be.
func find(instances []*wire.Instance, id string) (int, bool) {
	return slices.BinarySearchFunc(instances, id, func(i *wire.Instance, id string) int { return cmp.Compare(i.ID, id) })
}
