package watch

import (
	"context"
	"encoding/json"
	"errors"
	"io"
	"io/fs"
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

// CacheFailed says why the cache could not be used or written. The Watcher goes on without it.
type CacheFailed struct {
	Path string
	Not  string // notUsed or notWritten
	Err  error
}

// What the cache was not.
const (
	notUsed    = "used"
	notWritten = "written"
)

// Error leaves out the name of the file that was to replace the cache: each one has another name.
func (e *CacheFailed) Error() string {
	cause := e.Err.Error()
	var file *fs.PathError
	if errors.As(e.Err, &file) {
		cause = file.Op + ": " + file.Err.Error()
	}
	return "the cache " + e.Path + " is not " + e.Not + ": " + cause
}

func (e *CacheFailed) Unwrap() error { return e.Err }

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
		w.uncached = &CacheFailed{w.options.Cache, notUsed, err}
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
		if !w.noteCache() {
			signal(w.dirty) // it is tried again, whether anything changes or not
		}
		wait(ctx, nil, max(cacheEvery, cacheCost*time.Since(began)))
	}
	w.noteCache()
}

// noteCache writes the cache, and says whether it could.
func (w *Watcher) noteCache() bool {
	err := w.writeCache()
	w.mu.Lock()
	before := w.uncached
	if w.uncached = nil; err != nil {
		w.uncached = &CacheFailed{w.options.Cache, notWritten, err}
	}
	state := w.state()
	w.mu.Unlock()
	if err != nil || before != nil {
		w.report(state)
	}
	return err == nil
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
