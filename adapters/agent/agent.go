// Package agent keeps the instances of a host registered: those that files of definitions name. It runs their checks on the
// host and reports each of them, sends all heartbeats in one request (client.Keep), and answers lookups from a cache that is
// there while the registry is away.
//
// It leaves the looks of checks to the caller (Look), and names and processes to the operating system.
package agent

import (
	"context"
	"errors"
	"log/slog"
	"reflect"
	"sync"
	"time"

	"github.com/rollcall-registry/rollcall/adapters/client"
	"github.com/rollcall-registry/rollcall/domain"
)

// Options are what an Agent needs.
type Options struct {
	Client   *client.Client
	Paths    []string // files and folders of definitions
	Defaults Defaults
	// Owner is the owner of all registrations. It must be the same after a restart of the agent, so that the instances go
	// on in their epochs.
	Owner  string
	Look   Look
	Node   *Definition // the host itself; nil: it is not registered
	Logger *slog.Logger
	// Leave has the agent drain and deregister its instances when it ends. Otherwise they stay until their leases end: an
	// agent that is started again in time is not noticed.
	Leave bool
	// Alive is called every AliveEvery while the agent does its work; AliveEvery 0: no call. Where the calls end, the agent
	// hangs.
	Alive      func()
	AliveEvery time.Duration
}

// lookEvery is how often the files are looked at. After longestSettling looks the agent is ready, though a file still changes.
const (
	lookEvery       = time.Second
	longestSettling = 5
)

// Agent keeps instances registered.
type Agent struct {
	options Options
	files   map[string]*file
	faults  []error // of the paths, at the newest look
	running map[domain.Key]*instance
	reports *reports
	keeping *keeping
	reload  chan struct{} // holds a token when the files must be read again; never closed

	mu       sync.Mutex
	problems []error                   // of the files, newest state
	defined  map[domain.Key]Definition // what the files define, newest state; a map is never changed
}

// instance is an instance that is kept registered.
type instance struct {
	Definition
	kept *client.Kept // nil: not kept yet; until done is closed, it belongs to the goroutine of the checks
	// removed says that kept has ended or ends, because a check stayed critical. It belongs to whom kept belongs to.
	removed bool
	stop    context.CancelFunc // ends the checks
	done    chan struct{}      // closed when the checks have ended
}

// New is an Agent.
func New(options Options) *Agent {
	return &Agent{
		options: options, files: map[string]*file{}, running: map[domain.Key]*instance{}, reload: make(chan struct{}, 1),
		reports: newReports(options.Client, options.Owner, options.Logger), keeping: &keeping{logger: options.Logger},
	}
}

// Reload has the agent read all files again, also those that look the same.
func (a *Agent) Reload() {
	select {
	case a.reload <- struct{}{}:
	default: // it is to read them already
	}
}

// Problems are the mistakes in the files as they are now.
func (a *Agent) Problems() []error {
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.problems
}

// Run keeps the instances registered until the context ends. ready is called when all that the files define is being
// registered; nil: no call.
func (a *Agent) Run(ctx context.Context, ready func()) {
	reporting, stop := context.WithCancel(context.Background())
	var working sync.WaitGroup
	working.Go(func() { a.reports.run(reporting) })
	working.Go(func() { (&rivals{agent: a, times: map[domain.Key]int{}}).run(ctx) })
	defer working.Wait()
	defer stop()
	look := time.NewTicker(lookEvery)
	defer look.Stop()
	a.read(first)
	for n := 0; n < longestSettling && a.settling() && ctx.Err() == nil; n++ {
		sleep(ctx, lookEvery)
		a.read(again)
	}
	if ready != nil {
		ready()
	}
	var alive <-chan time.Time
	if a.options.AliveEvery > 0 {
		ticker := time.NewTicker(a.options.AliveEvery)
		defer ticker.Stop()
		alive = ticker.C
	}
	for {
		select {
		case <-ctx.Done():
			a.end()
			return
		case <-alive:
			a.options.Alive()
		case <-a.reload:
			a.read(asked)
		case <-look.C:
			a.read(again)
		}
	}
}

// apply keeps the instances that are wanted, as they are wanted, and ends the others.
func (a *Agent) apply(wanted map[domain.Key]Definition) {
	for key, i := range a.running {
		d, still := wanted[key]
		if still && reflect.DeepEqual(d, i.Definition) {
			continue
		}
		i.stop()
		<-i.done
		if !still {
			delete(a.running, key)
			if i.kept != nil {
				a.options.Logger.Info("an instance is deregistered", "instance", key.String(), "cause", "its definition was removed")
				i.kept.End("its definition was removed from host " + a.options.Defaults.Host)
			}
			continue
		}
		i.Definition = d
		if i.removed {
			i.kept, i.removed = nil, false
		}
		if i.kept != nil {
			if err := i.kept.Update(d.Details); err != nil {
				a.options.Logger.Error("an instance cannot be updated", "instance", key.String(), "cause", err)
			}
		}
		a.start(i)
	}
	for key, d := range wanted {
		if a.running[key] == nil {
			i := &instance{Definition: d}
			a.running[key] = i
			a.start(i)
		}
	}
}

// start begins to keep an instance, and runs its checks. Until all checks have answered, the instance gets no traffic: the
// registry has it as starting.
func (a *Agent) start(i *instance) {
	ctx, stop := context.WithCancel(context.Background())
	i.stop, i.done = stop, make(chan struct{})
	done := i.done
	go func() {
		defer close(done)
		if i.kept == nil {
			i.kept = a.keep(ctx, i.Definition)
		}
		if i.kept == nil || len(i.Checks) == 0 {
			return
		}
		a.look(ctx, i)
	}()
}

// keep begins to keep an instance. While a predecessor whose definition was removed still ends, keep waits. nil: ctx has
// ended.
func (a *Agent) keep(ctx context.Context, d Definition) *client.Kept {
	logger := a.options.Logger.With("instance", d.Key.String())
	log := a.keeping.of(d.Key)
	details := d.Details
	details.Status = domain.Passing // all that is known of the instance itself; its checks say more
	registration := client.Registration{
		Key: d.Key, Details: details, Owner: a.options.Owner, Drain: d.Drain, Reason: "the agent of host " + a.options.Defaults.Host + " ends",
		OnChange: func(s client.State) {
			a.reports.rouse()
			log(s)
		},
	}
	for {
		kept, err := a.options.Client.Keep(context.Background(), registration)
		switch {
		case err == nil:
			return kept
		case !errors.As(err, new(client.AlreadyKept)):
			logger.Error("an instance cannot be registered", "cause", err)
			return nil
		}
		if sleep(ctx, time.Second); ctx.Err() != nil {
			return nil
		}
	}
}

// end ends the checks, and with Leave the registrations.
func (a *Agent) end() {
	for _, i := range a.running {
		i.stop()
		<-i.done
		switch {
		case i.kept == nil, i.removed:
		case a.options.Leave:
			i.kept.End("")
		default:
			i.kept.LetGo()
		}
	}
	for _, i := range a.running {
		if i.kept != nil {
			<-i.kept.Done()
		}
	}
}
