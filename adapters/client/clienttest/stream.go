package clienttest

import (
	"cmp"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"slices"
	"time"

	"github.com/rollcall-registry/rollcall/adapters/client"
	"github.com/rollcall-registry/rollcall/domain"
	"github.com/rollcall-registry/rollcall/queries/wire"
)

// stream is one open stream of the catalog. One goroutine writes what is queued, and the keep-alives.
type stream struct {
	services []string // "namespace/service"; none: all
	ctx      context.Context
	queue    chan string // of messages; the registry drops the stream when it is full, and never closes it
	w        *io.PipeWriter
}

// stream opens a stream.
func (r *Registry) stream(request *http.Request) *http.Response {
	body, w := io.Pipe()
	s := &stream{services: request.URL.Query()["service"], ctx: request.Context(), queue: make(chan string, 4096), w: w}
	r.mu.Lock()
	defer r.mu.Unlock()
	s.queue <- ": welcome\n\n"
	after, err := wire.ParsePosition("Last-Event-ID", request.Header.Get("Last-Event-ID"))
	if err == nil && after.Timeline == r.timeline && after.Number <= r.position {
		for _, c := range r.changes {
			if c.Position.Number > after.Number && follows(s.services, c.Namespace, c.Service) {
				s.queue <- message(c.Position, wire.StreamChange, c)
			}
		}
		if r.panics != nil {
			s.queue <- message(r.at(), wire.StreamPanic, r.panicsOf(s))
		}
		s.queue <- stillHere
	} else {
		s.queue <- r.snapshot(s)
	}
	r.streams[s] = struct{}{}
	context.AfterFunc(request.Context(), func() { w.CloseWithError(context.Cause(request.Context())) })
	go r.write(s)
	return &http.Response{StatusCode: http.StatusOK, Status: "200 OK", Request: request, Body: body, Header: http.Header{"Content-Type": {"text/event-stream"}, "Rollcall-Position": {r.at().String()}}}
}

func (r *Registry) snapshot(s *stream) string {
	byService := map[domain.ServiceKey]*wire.ServiceInstances{}
	all := wire.CatalogSnapshot{Position: r.at(), Services: []wire.ServiceInstances{}}
	for key, i := range r.instances {
		if !i.Live() || !follows(s.services, key.Namespace, key.Service) {
			continue
		}
		service := domain.ServiceKey{Namespace: key.Namespace, Service: key.Service}
		if byService[service] == nil {
			byService[service] = &wire.ServiceInstances{Namespace: key.Namespace, Service: key.Service}
		}
		byService[service].Instances = append(byService[service].Instances, show(i))
	}
	for _, p := range r.panicsOf(s).Services {
		if service := byService[domain.ServiceKey{Namespace: p.Namespace, Service: p.Service}]; service != nil {
			service.Panic = &p.Panic
		}
	}
	for _, service := range byService {
		slices.SortFunc(service.Instances, func(a, b wire.Instance) int { return cmp.Compare(a.ID, b.ID) })
		all.Services = append(all.Services, *service)
	}
	return message(r.at(), wire.StreamSnapshot, all)
}

// panicsOf are the services of a stream that panic. REQUIRES: the caller holds mu.
func (r *Registry) panicsOf(s *stream) wire.Panics {
	some := wire.Panics{Services: []wire.ServicePanic{}}
	for _, p := range r.panics {
		if follows(s.services, p.Namespace, p.Service) {
			some.Services = append(some.Services, p)
		}
	}
	return some
}

func message(at wire.Position, kind string, value any) string {
	b, err := json.Marshal(value)
	if err != nil {
		panic(err)
	}
	return fmt.Sprintf("id: %s\nevent: %s\ndata: %s\n\n", at, kind, b)
}

const stillHere = ": " + wire.StillHere + "\n\n"

// write writes a stream's messages until the stream ends.
func (r *Registry) write(s *stream) {
	quiet := time.NewTicker(client.KeepAlive)
	defer quiet.Stop()
	for {
		text := stillHere
		select {
		case <-s.ctx.Done():
			r.mu.Lock()
			delete(r.streams, s)
			r.mu.Unlock()
			return
		case text = <-s.queue:
		case <-quiet.C:
		}
		r.mu.Lock()
		swallows := r.swallows
		r.mu.Unlock()
		if swallows {
			continue
		}
		if _, err := io.WriteString(s.w, text); err != nil {
			r.mu.Lock()
			delete(r.streams, s)
			r.mu.Unlock()
			return
		}
	}
}

// tell tells the streams of a change. REQUIRES: the caller holds mu.
func (r *Registry) tell(event string, i domain.Instance) {
	c := wire.Change{
		Position: r.at(), Op: wire.Delete, Namespace: i.Key.Namespace, Service: i.Key.Service, ID: i.Key.ID,
		Type: event, Summary: event, RecordedAt: time.Now(),
	}
	if i.Live() {
		shown := show(i)
		c.Op, c.Instance = wire.Put, &shown
	}
	r.changes = append(r.changes, c)
	for s := range r.streams {
		if !follows(s.services, c.Namespace, c.Service) {
			continue
		}
		select {
		case s.queue <- message(c.Position, wire.StreamChange, c):
		default:
			delete(r.streams, s)
			s.w.CloseWithError(io.ErrUnexpectedEOF)
		}
	}
}

// endStreams breaks all streams. REQUIRES: the caller holds mu.
func (r *Registry) endStreams(err error) {
	for s := range r.streams {
		delete(r.streams, s)
		s.w.CloseWithError(err)
	}
}
