// Package queries answers the questions of people and programs. Service is the door: a face asks Service, and writes the
// answer in the face's own form. The answers come from the projections and from the event store.
package queries

import (
	"context"
	"fmt"
	"maps"
	"net/url"
	"slices"
	"strconv"
	"strings"

	"github.com/rollcall-registry/rollcall/domain"
	"github.com/rollcall-registry/rollcall/projections/catalog"
	"github.com/rollcall-registry/rollcall/projections/encoded"
	"github.com/rollcall-registry/rollcall/queries/wire"
)

// InstanceFilter picks instances of a service. The zero filter picks all instances.
type InstanceFilter struct {
	Statuses []domain.Status   // any of them; none: every status
	Tags     []string          // all of them
	Zone     string            // "": every zone
	Version  string            // "": every version
	Metadata map[string]string // all of these pairs
	Ready    bool              // only those that may get traffic
	// MaxSilence leaves out instances that were silent for more than so many times their ttl; 0: none. It changes with time,
	// without an event: no answer is kept, and nothing that waits for changes takes it.
	MaxSilence float64
	Checks     []CheckFilter // all of them
}

// InstanceParameters are the names of what ParseInstanceFilter reads; "meta.*" is every name that begins
// with "meta.".
var InstanceParameters = []string{"status", "tag", "zone", "version", "ready", "max_silence", "check", "meta.*"}

// ParseInstanceFilter reads the parameters status, tag, zone, version, ready, max_silence and meta.<key>. Other
// parameters are refused, but for those in also, which are the caller's.
func ParseInstanceFilter(values url.Values, also ...string) (f InstanceFilter, err error) {
	for _, name := range slices.Sorted(maps.Keys(values)) {
		value := values.Get(name)
		if slices.Contains([]string{"tag", "zone", "version"}, name) && slices.Contains(values[name], "") {
			return f, domain.InvalidField{Field: name, Rule: "must not be empty"} // it would filter nothing
		}
		switch name {
		case "status":
			if f.Statuses, err = parseStatuses(values[name]); err != nil {
				return f, err
			}
		case "tag":
			f.Tags = values[name]
		case "zone":
			f.Zone = value
		case "version":
			f.Version = value
		case "ready":
			if f.Ready, err = ParseBool(name, value); err != nil {
				return f, err
			}
		case "check":
			if f.Checks, err = parseCheckFilters(values[name]); err != nil {
				return f, err
			}
		case "max_silence":
			if f.MaxSilence, err = parseMaxSilence(value); err != nil {
				return f, err
			}
		default:
			key, ok := strings.CutPrefix(name, "meta.")
			switch {
			case slices.Contains(also, name):
			case !ok:
				return f, domain.InvalidField{Field: name, Rule: "is not a known filter"}
			case f.Metadata == nil:
				f.Metadata = map[string]string{key: value}
			default:
				f.Metadata[key] = value
			}
		}
	}
	return f, nil
}

func parseStatuses(lists []string) (statuses []domain.Status, err error) {
	for _, list := range lists {
		for text := range strings.SplitSeq(list, ",") {
			status := domain.Status(text)
			if status != domain.Starting && status != domain.Passing && status != domain.Warning && status != domain.Critical {
				return nil, domain.InvalidField{Field: "status", Rule: "must be starting, passing, warning or critical"}
			}
			statuses = append(statuses, status)
		}
	}
	return statuses, nil
}

// Text is the filter's canonical text: two filters that differ only in the order of their statuses, tags and metadata
// have the same text.
func (f InstanceFilter) Text() string {
	values := url.Values{}
	for _, status := range f.Statuses {
		values.Add("status", string(status))
	}
	values["tag"] = slices.Clone(f.Tags)
	for _, name := range []string{"status", "tag"} {
		slices.Sort(values[name])
		values[name] = slices.Compact(values[name])
	}
	if f.Zone != "" {
		values.Set("zone", f.Zone)
	}
	if f.Version != "" {
		values.Set("version", f.Version)
	}
	for key, value := range f.Metadata {
		values.Set("meta."+key, value)
	}
	if f.Ready {
		values.Set("ready", "")
	}
	for _, check := range f.Checks {
		values.Add("check", check.text())
	}
	slices.Sort(values["check"])
	if f.MaxSilence > 0 {
		values.Set(maxSilence, strconv.FormatFloat(f.MaxSilence, 'g', -1, 64))
	}
	return values.Encode()
}

// narrow says whether the filter has a condition besides Ready.
func (f InstanceFilter) narrow() bool {
	return len(f.Statuses)+len(f.Tags)+len(f.Metadata)+len(f.Checks) > 0 || f.Zone != "" || f.Version != ""
}

func (f InstanceFilter) match(e *catalog.Entry) bool {
	if f.Ready && !e.Ready() || len(f.Statuses) > 0 && !slices.Contains(f.Statuses, e.Status()) {
		return false
	}
	for _, check := range f.Checks {
		if !check.match(e) {
			return false
		}
	}
	if len(f.Tags)+len(f.Metadata) == 0 && f.Zone == "" && f.Version == "" {
		return true
	}
	if !f.mayPick(e) {
		return false
	}
	d := e.Details()
	if f.Zone != "" && d.Zone != f.Zone || f.Version != "" && d.Version != f.Version {
		return false
	}
	for _, tag := range f.Tags {
		if !slices.Contains(d.Tags, tag) {
			return false
		}
	}
	for key, value := range f.Metadata {
		if got, ok := d.Metadata[key]; !ok || got != value {
			return false
		}
	}
	return true
}

// mayPick is a quick look before the details are decoded, which takes a hundred times as long: false: match is false.
func (f InstanceFilter) mayPick(e *catalog.Entry) bool {
	if f.Zone != "" && !e.MayHold(f.Zone) || f.Version != "" && !e.MayHold(f.Version) {
		return false
	}
	for _, tag := range f.Tags {
		if !e.MayHold(tag) {
			return false
		}
	}
	for key, value := range f.Metadata {
		if !e.MayHold(key) || !e.MayHold(value) {
			return false
		}
	}
	return true
}

// Instances gives the instances of a service that a filter picks, in JSON. The reply is encoded once for all requests with
// the same filter between two changes. With leases it shows each lease's end, which changes with every
// heartbeat and so is never kept, nor is what is picked by silence. Only the live catalog knows leases.
func (c *Catalog) Instances(ctx context.Context, key domain.ServiceKey, filter InstanceFilter, leases bool) (encoded.Form, error) {
	if filter.MaxSilence > 0 && !c.Live {
		return encoded.Form{}, filter.refuseSilence("at", silencePast)
	}
	s := c.service
	view, err := c.viewOf(ctx, key)
	if err != nil {
		return encoded.Form{}, err
	}
	if c.Live && !leases && filter.MaxSilence == 0 {
		if form, ok := s.listed(view, filter); ok {
			return form, nil
		}
	}
	name := "list " + key.String() + " " + filter.Text() + c.name()
	encode := func() encoded.Form { return s.list(c.view(key), filter) }
	switch {
	case c.Live && filter.MaxSilence > 0 && !leases:
		encode = func() encoded.Form { return s.encode(c.view(key), filter, nil) }
	case !c.Live:
		encode = func() encoded.Form {
			frame := s.frame(view, nil)
			frame.Note = c.Moment.note()
			return encodeList(frame, view.Entries, filter, nil)
		}
	case leases:
		name += " leases"
		encode = func() encoded.Form { return s.encode(c.view(key), filter, s.leaseEnds()) }
	}
	return s.made(ctx, name, len(view.Entries), encode)
}

// PlainList is Instances of a view in the live catalog, of all or of those that are ready, if it is made or quickly made. Of a service that
// panics there is no list of ready ones: whoever gets all in their place is to be warned.
func (s *Service) PlainList(view *catalog.View, ready bool) (form encoded.Form, ok bool) {
	if ready && s.Panic(view) != nil {
		return form, false
	}
	filter := InstanceFilter{Ready: ready}
	if len(view.Entries) >= heavyEntries {
		return s.listed(view, filter)
	}
	return s.list(view, filter), true
}

// list is the list of a view in the live catalog, kept for others.
func (s *Service) list(view *catalog.View, filter InstanceFilter) encoded.Form {
	encode := func() encoded.Form { return s.encode(view, filter, nil) }
	if format, ok := filter.format(); ok {
		return view.Forms.Get(format, encode)
	}
	return s.work.keep(listName(view, filter), encode)
}

// listed is list if it is made already.
func (s *Service) listed(view *catalog.View, filter InstanceFilter) (encoded.Form, bool) {
	if format, ok := filter.format(); ok {
		return view.Forms.Made(format)
	}
	return s.work.find(listName(view, filter))
}

// format is under what a view keeps its list.
func (f InstanceFilter) format() (name string, ok bool) {
	switch {
	case f.narrow():
		return "", false
	case f.Ready:
		return formatReady, true
	}
	return formatAll, true
}

// listName is of one list only, as long as the registry runs: no two views of a service in the live catalog are at
// one position.
func listName(view *catalog.View, filter InstanceFilter) string {
	return fmt.Sprintf("list %s@%d %s", view.Service, view.Position, filter.Text())
}

// encode is a list of a view in the live catalog.
func (s *Service) encode(view *catalog.View, filter InstanceFilter, ends *leaseEnds) encoded.Form {
	given, panics := s.given(view, filter)
	if ends == nil && filter.MaxSilence == 0 {
		return s.lists.encode(s.frame(view, panics), view, given)
	}
	return s.encodeOf(view, given, panics, ends)
}

func (s *Service) encodeOf(view *catalog.View, filter InstanceFilter, panics *wire.Panic, ends *leaseEnds) encoded.Form {
	entries := view.Entries
	if filter.MaxSilence > 0 {
		entries = s.heard(entries, filter.MaxSilence)
	}
	return encodeList(s.frame(view, panics), entries, filter, ends)
}

// frame is the list of a view without instances.
func (s *Service) frame(view *catalog.View, panics *wire.Panic) wire.InstanceList {
	return wire.InstanceList{Service: view.Service.Service, Namespace: view.Service.Namespace, Position: s.At(view.Position), Panic: panics}
}
