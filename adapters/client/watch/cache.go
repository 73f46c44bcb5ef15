package watch

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"time"

	"github.com/rollcall-registry/rollcall/adapters/client/internal/regular"
	"github.com/rollcall-registry/rollcall/domain"
	"github.com/rollcall-registry/rollcall/queries/wire"
)

// cacheFile is the form of the cache.
type cacheFile struct {
	Services []cacheEntry `json:"services"`
	All      time.Time    `json:"all,omitzero"` // the services were all that have instances at this time; zero: they are some
}

type cacheEntry struct {
	wire.ServiceInstances
	At time.Time `json:"at"` // the instances were right at this time
}

// cachedService is what the cache has of a service.
type cachedService struct {
	instances []*wire.Instance
	at        time.Time
}

func readCache(path string) (file cacheFile, err error) {
	f, err := regular.Open(path)
	if err != nil {
		return file, err
	}
	defer f.Close()
	b, err := io.ReadAll(f)
	if err != nil {
		return file, err
	}
	return file, json.Unmarshal(b, &file)
}

// loadCache takes what the cache has. A cache that cannot be read is no cache: the state says why.
func (w *Watcher) loadCache() {
	if w.options.Cache == "" {
		return
	}
	sweep(w.options.Cache)
	file, err := readCache(w.options.Cache)
	if errors.Is(err, os.ErrNotExist) {
		return
	}
	if err != nil {
		w.err = fmt.Errorf("the cache %s is not used: %w", w.options.Cache, err)
		w.report(w.state())
		return
	}
	w.cachedAll = file.All
	for _, s := range file.Services {
		instances := make([]*wire.Instance, len(s.Instances))
		for i := range s.Instances {
			instances[i] = &s.Instances[i]
		}
		if s.Panic != nil {
			w.panics[domain.ServiceKey{Namespace: s.Namespace, Service: s.Service}] = s.Panic
		}
		w.cached[domain.ServiceKey{Namespace: s.Namespace, Service: s.Service}] = cachedService{instances, s.At}
	}
}

// keepCache writes the cache after changes, and at the end.
func (w *Watcher) keepCache(ctx context.Context) {
	for ctx.Err() == nil {
		select {
		case <-ctx.Done():
			w.noteCache()
			return
		case <-w.dirty:
		}
		began := time.Now()
		w.noteCache()
		wait(ctx, nil, max(cacheEvery, cacheCost*time.Since(began)))
	}
	w.noteCache()
}

func (w *Watcher) noteCache() {
	err := w.writeCache()
	if err == nil {
		return
	}
	w.mu.Lock()
	w.err = fmt.Errorf("the cache is not written: %w", err)
	state := w.state()
	w.mu.Unlock()
	w.report(state)
}

// writeCache replaces the cache: a reader finds the old file or the new one, whole.
func (w *Watcher) writeCache() error {
	w.mu.Lock()
	file := cacheFile{Services: []cacheEntry{}, All: w.wholeAt()}
	for key, s := range w.services {
		if p := s.instances.Load(); p != nil {
			file.Services = append(file.Services, w.cacheEntry(key, *p, w.rightAt(s)))
		}
	}
	for key, c := range w.cached {
		file.Services = append(file.Services, w.cacheEntry(key, c.instances, c.at))
	}
	w.mu.Unlock()
	b, err := json.Marshal(file)
	if err != nil {
		return err
	}
	return replaceFile(w.options.Cache, b)
}

// cacheEntry is what the cache has of a service. REQUIRES: the caller holds mu.
func (w *Watcher) cacheEntry(key domain.ServiceKey, instances []*wire.Instance, at time.Time) cacheEntry {
	e := cacheEntry{At: at, ServiceInstances: wire.ServiceInstances{Namespace: key.Namespace, Service: key.Service, Panic: w.panics[key], Instances: make([]wire.Instance, len(instances))}}
	for i, one := range instances {
		e.Instances[i] = *one
	}
	return e
}
