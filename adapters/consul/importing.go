package consul

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"maps"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/rollcall-registry/rollcall/adapters/client"
	"github.com/rollcall-registry/rollcall/queries/wire"
)

// Import copies the catalog of a Consul, or of another Rollcall that speaks its API, into a registry. The other one goes on
// to judge its checks: an instance that was imported has the status that it has there.
//
// An import changes only what it imported from there itself. An instance that has registered here by itself is left alone,
// and so is an instance that registers here later, for a registration takes the mark of the import away.
type Import struct {
	From     string         // such as http://127.0.0.1:8500; see Source
	User     *url.Userinfo  // for From; nil: none
	Token    string         // for From; "": none
	HTTP     *http.Client   // for From; its timeout must be longer than Wait, or 0
	Registry *client.Client // whose namespace is imported into
	Wait     time.Duration  // of a blocking query; 0: 5 minutes
	Logger   *slog.Logger

	registered, deregistered, refused atomic.Int64
}

// Source is the From of an import from a URL. It has no credentials and no slash at its end: everybody sees it with what is imported,
// and knows by it what was imported from where.
func Source(u *url.URL) string {
	bare := *u
	bare.User = nil
	return strings.TrimRight(bare.String(), "/")
}

// Imported counts what an import did.
type Imported struct {
	Services     int   `json:"services"`
	Registered   int64 `json:"registered"` // registrations and updates
	Deregistered int64 `json:"deregistered"`
	Refused      int64 `json:"refused"` // instances that the registry does not take; the log says why
}

// Once copies what there is now.
func (i *Import) Once(ctx context.Context) (Imported, error) {
	services, _, err := i.services(ctx, 0)
	if err != nil {
		return Imported{}, err
	}
	names, err := i.withImported(ctx, services)
	if err != nil {
		return Imported{}, err
	}
	for _, name := range names {
		entries, _, err := i.entries(ctx, name, 0)
		if err != nil {
			return Imported{}, err
		}
		if err := i.take(ctx, name, entries); err != nil {
			return Imported{}, err
		}
	}
	return Imported{len(services), i.registered.Load(), i.deregistered.Load(), i.refused.Load()}, nil
}

// Follow copies what there is, and then each change, until the context ends. An error ends nothing: it is logged, and tried
// again after a pause.
func (i *Import) Follow(ctx context.Context) {
	var followers sync.WaitGroup
	defer followers.Wait()
	followed := map[string]bool{} // for ever: a service that is gone blocks, and may come back
	i.loop(ctx, "the list of services", func(index uint64) (uint64, error) {
		services, next, err := i.services(ctx, index)
		if err != nil {
			return 0, err
		}
		names := slices.Collect(maps.Keys(services))
		if index == 0 {
			if names, err = i.withImported(ctx, services); err != nil {
				return 0, err
			}
		}
		for _, name := range names {
			if !followed[name] {
				followed[name] = true
				followers.Go(func() { i.followService(ctx, name) })
			}
		}
		return next, nil
	})
}

func (i *Import) followService(ctx context.Context, name string) {
	i.loop(ctx, name, func(index uint64) (uint64, error) {
		entries, next, err := i.entries(ctx, name, index)
		if err == nil {
			err = i.take(ctx, name, entries)
		}
		return next, err
	})
}

// pauses are the shortest and the longest pause after an error.
const (
	shortPause = time.Second
	longPause  = 30 * time.Second
)

// loop asks again and again, from the index of the answer before. An index that falls begins anew: another server has
// answered, or an older state.
func (i *Import) loop(ctx context.Context, what string, ask func(index uint64) (uint64, error)) {
	index, pause := uint64(0), shortPause
	for ctx.Err() == nil {
		next, err := ask(index)
		switch {
		case ctx.Err() != nil:
			return
		case err != nil:
			i.Logger.Warn("the import waits after an error", "of", what, "error", err)
			select {
			case <-ctx.Done():
				return
			case <-time.After(pause):
			}
			index, pause = 0, min(2*pause, longPause)
			continue
		case next < index:
			next = 0
		}
		index, pause = next, shortPause
	}
}

// withImported are the names of services, and those of services that were imported and are not there any more.
func (i *Import) withImported(ctx context.Context, services map[string][]string) (names []string, err error) {
	names = slices.Collect(maps.Keys(services))
	here, err := i.Registry.Catalog(ctx, i.Registry.Namespace(), "")
	if err != nil {
		return nil, err
	}
	for _, s := range here.Value.Services {
		if _, there := services[s.Service]; !there && slices.ContainsFunc(s.Instances, i.isOurs) {
			names = append(names, s.Service)
		}
	}
	slices.Sort(names)
	return names, nil
}

func (i *Import) isOurs(instance wire.Instance) bool {
	o, _ := originOf(instance.Origin)
	if o.Imported == nil || o.Imported.From == i.From {
		return o.Imported != nil
	}
	from, err := url.Parse(o.Imported.From) // earlier releases kept it as it was given
	return err == nil && Source(from) == i.From
}

func (i *Import) services(ctx context.Context, index uint64) (services map[string][]string, next uint64, err error) {
	next, err = i.get(ctx, "/v1/catalog/services", index, &services)
	return services, next, err
}

func (i *Import) entries(ctx context.Context, name string, index uint64) (entries []importedEntry, next uint64, err error) {
	next, err = i.get(ctx, "/v1/health/service/"+url.PathEscape(name), index, &entries)
	return entries, next, err
}

// maxAnswer is the most bytes of an answer.
const maxAnswer = 256 << 20

func (i *Import) get(ctx context.Context, path string, index uint64, into any) (next uint64, err error) {
	wait := i.Wait
	if wait == 0 {
		wait = usualWait
	}
	query := url.Values{"index": {strconv.FormatUint(index, 10)}, "wait": {fmt.Sprintf("%dms", wait.Milliseconds())}}
	if index == 0 {
		query = url.Values{}
	}
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, i.From+path+"?"+query.Encode(), nil)
	if err != nil {
		return 0, err
	}
	if i.User != nil {
		password, _ := i.User.Password()
		request.SetBasicAuth(i.User.Username(), password)
	}
	if i.Token != "" {
		request.Header.Set("X-Consul-Token", i.Token)
	}
	resp, err := i.HTTP.Do(request)
	if err != nil {
		return 0, fmt.Errorf("no answer from %s: %w", i.From, client.PlainCause(ctx, err))
	}
	defer resp.Body.Close()
	client.NoUpgrade(resp)
	body, err := io.ReadAll(io.LimitReader(resp.Body, maxAnswer))
	switch {
	case err != nil:
		return 0, fmt.Errorf("the answer from %s broke off: %w", i.From, client.PlainCause(ctx, err))
	case resp.StatusCode != http.StatusOK:
		return 0, fmt.Errorf("%s answered %s to %s: %s", i.From, resp.Status, path, clip(string(body), 200))
	case resp.Header.Get("X-Consul-Results-Filtered-By-ACLs") == "true":
		return 0, fmt.Errorf("%s leaves out services that the token may not read", i.From) // they would seem to be gone
	}
	if json.Unmarshal(body, into) != nil {
		return 0, fmt.Errorf("%s answered to %s what Consul's API does not: %s", i.From, path, clip(string(body), 200))
	}
	next, err = strconv.ParseUint(resp.Header.Get("X-Consul-Index"), 10, 64)
	if err != nil || next == 0 {
		return 0, errors.New(i.From + " gives no X-Consul-Index")
	}
	return next, nil
}
