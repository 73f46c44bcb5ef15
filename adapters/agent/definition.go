package agent

import (
	"bytes"
	"cmp"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"time"

	"go.yaml.in/yaml/v3"

	"github.com/rollcall-registry/rollcall/domain"
	"github.com/rollcall-registry/rollcall/projections/durable"
)

// Definition is one instance that a file defines.
type Definition struct {
	Key     domain.Key
	Details domain.Details // with a ttl check for each of Checks: the agent looks, not the registry
	Checks  []domain.Check // what the agent looks at; normalized
	Drain   time.Duration
}

// BadFile says which file and which field of it is wrong.
type BadFile struct {
	File  string
	Field string // "": the file as a whole
	Err   error
}

func (e *BadFile) Error() string {
	if e.Field == "" {
		return fmt.Sprintf("%s: %v", e.File, e.Err)
	}
	return fmt.Sprintf("%s: %s: %v", e.File, e.Field, e.Err)
}

func (e *BadFile) Unwrap() error { return e.Err }

// entry is one instance in a file.
type entry struct {
	Namespace string            `json:"namespace"`
	Service   string            `json:"service"`
	ID        string            `json:"id"` // "": the host's name
	Address   string            `json:"address"`
	Ports     map[string]int    `json:"ports"`
	Tags      []string          `json:"tags"`
	Metadata  map[string]string `json:"metadata"`
	Zone      string            `json:"zone"`
	Version   string            `json:"version"`
	Weight    *uint16           `json:"weight"`
	TTL       domain.Duration   `json:"ttl"`
	Drain     domain.Duration   `json:"drain"`
	Checks    []domain.Check    `json:"checks"`
}

// Defaults complete definitions.
type Defaults struct {
	Namespace string
	Host      string // the id of an instance that names none
	Address   string // of an instance that names none
	Zone      string // of an instance that names none
}

// ReadFile reads a file of definitions: YAML or JSON, one definition, or several under the name instances. The error is a
// *BadFile.
func ReadFile(path string, defaults Defaults) ([]Definition, error) {
	b, err := content(path)
	if err != nil {
		return nil, &BadFile{File: path, Err: err}
	}
	var document map[string]any
	documents := yaml.NewDecoder(bytes.NewReader(b)) // JSON is YAML
	if err := documents.Decode(&document); err != nil && err != io.EOF {
		return nil, &BadFile{File: path, Err: errors.New(strings.TrimPrefix(err.Error(), "yaml: "))}
	}
	if err := documents.Decode(new(any)); err != io.EOF {
		return nil, &BadFile{File: path, Err: errors.New("must be one document: name several instances under instances")}
	}
	list, several := document["instances"]
	if !several {
		d, err := readDefinition(path, "", document, defaults)
		return []Definition{d}, err
	}
	items, ok := list.([]any)
	if !ok {
		return nil, &BadFile{File: path, Field: "instances", Err: errors.New("must be a list")}
	}
	for name := range document {
		if name != "instances" {
			return nil, &BadFile{File: path, Field: name, Err: errors.New("is not known beside instances")}
		}
	}
	var all []Definition
	for n, item := range items {
		d, err := readDefinition(path, fmt.Sprintf("instances[%d]", n), item, defaults)
		if err != nil {
			return nil, err
		}
		all = append(all, d)
	}
	return all, nil
}

// maxFile is how long a file of definitions may be, in bytes.
const maxFile = 16 << 20

// content is what a file holds.
func content(path string) ([]byte, error) {
	f, _, err := durable.OpenRegular(path)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	b, err := io.ReadAll(io.LimitReader(f, maxFile+1))
	if err == nil && len(b) > maxFile {
		err = fmt.Errorf("must have at most %d bytes", maxFile)
	}
	return b, err
}

// readDefinition reads one definition strictly. where is the field that holds it; "": the file.
func readDefinition(path, where string, item any, defaults Defaults) (d Definition, err error) {
	field := func(name string) string {
		if where == "" || name == "" {
			return where + name
		}
		return where + "." + name
	}
	bad := func(name string, err error) (Definition, error) {
		return d, &BadFile{File: path, Field: field(name), Err: err}
	}
	b, err := json.Marshal(item)
	if err != nil {
		return bad("", err)
	}
	var e entry
	decoder := json.NewDecoder(bytes.NewReader(b))
	decoder.DisallowUnknownFields()
	if err := decoder.Decode(&e); err != nil {
		var kind *json.UnmarshalTypeError
		if errors.As(err, &kind) {
			return bad(kind.Field, fmt.Errorf("must be %s, not a %s", wanted(kind.Type.String()), kind.Value))
		}
		if name, unknown := strings.CutPrefix(err.Error(), "json: unknown field "); unknown {
			return bad(strings.Trim(name, `"`), errors.New("is not a known field"))
		}
		return bad("", err)
	}
	d.Key = domain.Key{Namespace: cmp.Or(e.Namespace, defaults.Namespace, domain.DefaultNamespace), Service: e.Service, ID: cmp.Or(e.ID, defaults.Host)}
	d.Drain = time.Duration(e.Drain)
	d.Details = domain.Details{
		Address: cmp.Or(e.Address, defaults.Address), Tags: e.Tags, Metadata: e.Metadata, Zone: cmp.Or(e.Zone, defaults.Zone), Version: e.Version,
		Weight: domain.DefaultWeight, TTL: cmp.Or(e.TTL, domain.Duration(domain.DefaultTTL)), Ports: map[string]uint16{},
	}
	if e.Weight != nil {
		if *e.Weight == 0 {
			return bad("weight", errors.New("must be at least 1: an instance that is to get no traffic drains"))
		}
		d.Details.Weight = *e.Weight
	}
	for name, port := range e.Ports {
		if port < 1 || port > 65535 {
			return bad("ports."+name, errors.New("must be 1-65535"))
		}
		d.Details.Ports[name] = uint16(port)
	}
	if d.Drain < 0 {
		return bad("drain", errors.New("must not be negative"))
	}
	for n, c := range e.Checks {
		c.ID = cmp.Or(c.ID, fmt.Sprint("check-", n+1))
		if !c.Kind.Probed() {
			return bad(fmt.Sprintf("checks[%d].kind", n), errors.New("must be http, tcp or grpc"))
		}
		d.Checks = append(d.Checks, c.Normalize())
	}
	d.Details.Checks = d.Checks // their limits are those of a registration's checks
	var wrong domain.InvalidField
	if err := (domain.RegisterInstance{Key: d.Key, Details: d.Details}).Validate(); errors.As(err, &wrong) {
		return bad(wrong.Field, errors.New(wrong.Rule))
	} else if err != nil {
		return bad("", err)
	}
	d.Details.Checks = make([]domain.Check, len(d.Checks)) // not nil: a check that is not defined any more ends
	for n, c := range d.Checks {
		d.Details.Checks[n] = pushed(c, d.Details.TTL, defaults.Host)
	}
	return d, nil
}

// wanted names a type in words.
func wanted(kind string) string {
	switch {
	case strings.HasPrefix(kind, "[]"):
		return "a list"
	case strings.HasPrefix(kind, "map"), strings.Contains(kind, "entry"), strings.HasSuffix(kind, "Check"):
		return "an object"
	case strings.Contains(kind, "int"):
		return "a whole number"
	case kind == "bool":
		return "true or false"
	}
	return "a text"
}

// NodeOf is the definition of the host itself.
func NodeOf(service string, d Defaults, port uint16, version string) *Definition {
	details := domain.Details{
		Address: d.Address, Zone: d.Zone, Version: version, Weight: domain.DefaultWeight, TTL: domain.Duration(domain.DefaultTTL),
		Metadata: map[string]string{"os": runtime.GOOS, "arch": runtime.GOARCH},
	}
	if port != 0 {
		details.Ports = map[string]uint16{"agent": port}
	}
	namespace := d.Namespace
	if namespace == "" {
		namespace = domain.DefaultNamespace
	}
	return &Definition{Key: domain.Key{Namespace: namespace, Service: service, ID: d.Host}, Details: details}
}

// Files are the files of definitions at some paths: files, and what is named .yaml, .yml and .json in folders, by name: a folder in the
// place of a file, as a container's missing mount makes it, takes nothing out. A path that cannot be read is a *BadFile.
func Files(paths []string) (files []string, bad []error) {
	for _, path := range paths {
		info, err := os.Stat(path)
		if err != nil {
			bad = append(bad, &BadFile{File: path, Err: err})
			continue
		}
		if !info.IsDir() {
			files = append(files, path)
			continue
		}
		entries, err := os.ReadDir(path)
		if err != nil {
			bad = append(bad, &BadFile{File: path, Err: err})
			continue
		}
		for _, e := range entries {
			if ext := filepath.Ext(e.Name()); !strings.HasPrefix(e.Name(), ".") && (ext == ".yaml" || ext == ".yml" || ext == ".json") {
				files = append(files, filepath.Join(path, e.Name()))
			}
		}
	}
	slices.Sort(files)
	return slices.Compact(files), bad
}
