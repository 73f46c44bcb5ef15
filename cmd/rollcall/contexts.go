package main

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"maps"
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"

	"go.yaml.in/yaml/v3"

	"github.com/rollcall-registry/rollcall/adapters/access"
	"github.com/rollcall-registry/rollcall/domain"
	"github.com/rollcall-registry/rollcall/projections/durable"
)

// contextFile is the command line's configuration: the registries that a user works with, by name.
type contextFile struct {
	Current  string                     `yaml:"current,omitempty"`
	Contexts map[string]registryContext `yaml:"contexts"`

	path string
}

// registryContext is how to reach a registry, and the namespace to work in.
type registryContext struct {
	URL       string `yaml:"url" json:"url"`
	Namespace string `yaml:"namespace,omitempty" json:"namespace,omitempty"`
	Token     string `yaml:"token,omitempty" json:"-"`
	TokenFile string `yaml:"token-file,omitempty" json:"token_file,omitempty"`
	CA        string `yaml:"ca,omitempty" json:"ca,omitempty"`
	Cert      string `yaml:"cert,omitempty" json:"cert,omitempty"`
	Key       string `yaml:"key,omitempty" json:"key,omitempty"`
}

// contextPath is where contexts are kept: rollcall/contexts.yaml in $XDG_CONFIG_HOME, or in ~/.config.
func contextPath() (string, error) {
	folder := os.Getenv("XDG_CONFIG_HOME")
	if !filepath.IsAbs(folder) { // a relative one is invalid and ignored (XDG Base Directory Specification)
		home, err := os.UserHomeDir()
		if err != nil {
			return "", err
		}
		folder = filepath.Join(home, ".config")
	}
	return filepath.Join(folder, "rollcall", "contexts.yaml"), nil
}

// loadContexts reads the contexts. A file that is not there has none.
func loadContexts() (f contextFile, err error) {
	if f.path, err = contextPath(); err != nil {
		return f, nil // a user without a home has no contexts
	}
	b, err := durable.ReadRegular(f.path)
	if errors.Is(err, fs.ErrNotExist) {
		return f, nil
	}
	if err != nil {
		return f, err
	}
	decoder := yaml.NewDecoder(strings.NewReader(string(b)))
	decoder.KnownFields(true)
	if err := decoder.Decode(&f); err != nil && !errors.Is(err, io.EOF) {
		return f, fmt.Errorf("%s: %s", f.path, access.YAMLWords(err))
	}
	return f, f.checkSecrecy()
}

// checkSecrecy refuses a file with a secret that other users can read.
func (f *contextFile) checkSecrecy() error {
	info, err := os.Stat(f.path)
	if err != nil {
		return err
	}
	for _, name := range f.names() {
		if f.Contexts[name].Token != "" && info.Mode().Perm()&0o077 != 0 {
			return fmt.Errorf("%s holds the token of context %s, and others may read it: run chmod 600 %s", f.path, name, f.path)
		}
	}
	return nil
}

// save replaces the file. Only its user may read it.
func (f *contextFile) save() error {
	if f.path == "" {
		return errors.New("there is no folder for the configuration: set HOME or XDG_CONFIG_HOME")
	}
	b, err := yaml.Marshal(f)
	if err != nil {
		return err
	}
	if err := os.MkdirAll(filepath.Dir(f.path), 0o700); err != nil {
		return err
	}
	return durable.WriteFile(f.path, b, 0o600)
}

func (f *contextFile) names() []string { return slices.Sorted(maps.Keys(f.Contexts)) }

// find is the context of a name.
func (f *contextFile) find(name string) (registryContext, error) {
	context, ok := f.Contexts[name]
	if !ok {
		return context, usageError{fmt.Errorf("there is no context %q: there are %s", name, orNone(f.names()))}
	}
	return context, nil
}

func orNone(names []string) string {
	if len(names) == 0 {
		return "none"
	}
	return strings.Join(names, ", ")
}

// contextName is a name that can be typed, and completed.
var contextName = regexp.MustCompile(`^[A-Za-z0-9][A-Za-z0-9._-]{0,63}$`)

// defaultPort is where a registry listens.
const defaultPort = "7700"

// registryURL completes what a user writes for a registry: a URL, host:port, or a host alone, or several of them with
// commas between them, for its nodes. It is a URL of https if secured, for which certificates were named.
func registryURL(text string, secured bool) (string, error) {
	nodes := strings.Split(text, ",")
	for i, node := range nodes {
		var err error
		if nodes[i], err = nodeURL(strings.TrimSpace(node), secured); err != nil {
			return "", err
		}
	}
	return strings.Join(nodes, ","), nil
}

func nodeURL(text string, secured bool) (string, error) {
	if strings.Contains(text, "://") || text == "" {
		return text, nil // the client checks it
	}
	host, path, below := strings.Cut(text, "/")
	if below {
		path = "/" + path
	}
	if ip, err := netip.ParseAddr(strings.Trim(host, "[]")); err == nil {
		host = net.JoinHostPort(ip.String(), defaultPort)
	} else if !strings.Contains(host, ":") {
		host = net.JoinHostPort(host, defaultPort)
	} else if name, port, err := net.SplitHostPort(host); err == nil && name == "" {
		host = net.JoinHostPort("127.0.0.1", port)
	}
	name, port, err := net.SplitHostPort(host)
	if err != nil || strings.Trim(port, "0123456789") != "" || port == "" || strings.ContainsAny(name, " @?#%") {
		return "", domain.InvalidField{Field: "url", Rule: "must be a host, host:port, or like http://127.0.0.1:7700"}
	}
	if secured {
		return "https://" + host + path, nil
	}
	return "http://" + host + path, nil
}
