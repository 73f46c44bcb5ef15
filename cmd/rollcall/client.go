package main

import (
	"cmp"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"strings"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"github.com/rollcall-registry/rollcall/adapters/client"
	"github.com/rollcall-registry/rollcall/domain"
	"github.com/rollcall-registry/rollcall/queries"
)

// commandLine is what all client commands share: which registry they ask, and how they show its answers. settle completes
// it from the environment and the context.
type commandLine struct {
	url, namespace, output string
	everywhere             bool   // of all namespaces, as --ns '*'
	noHeaders              bool   // tables without titles and headers
	context                string // name of the context; "": that of ROLLCALL_CONTEXT, or the current one

	tokenFile     string          // file with a secret that others renew; "": none
	token         string          // secret that is shown to the registry; "": none
	ca, cert, key string          // PEM files for TLS; "": the system's authorities, no certificate
	transport     *http.Transport // made of them, once

	data       string         // folder of a registry on this machine, whose socket is used; "": none is named
	own        *pflag.FlagSet // the flags of all commands
	dataFlag   *pflag.Flag    // --data of the commands that have none of their own
	socket     string         // data folder whose socket is used; "": the URL is
	onlySocket bool           // the folder was named on the command line: there is no other way

	settled     bool
	fault       error // why the context is not known; commands that need no registry do not care
	fromContext bool  // the URL is the context's
	chosen      bool  // the namespace was named, by a flag, the environment or the context
}

func (c *commandLine) flags(flags *pflag.FlagSet) {
	flags.StringVar(&c.url, "url", defaultURL, "where the server is: a URL, host:port, or a host; of several nodes, with commas between them (ROLLCALL_URL)")
	flags.StringVar(&c.context, "context", "", "the context to use (ROLLCALL_CONTEXT); see: rollcall context")
	flags.StringVar(&c.ca, "ca", "", "authorities that the server's certificate is checked with, in PEM (ROLLCALL_CA)")
	flags.StringVar(&c.cert, "cert", "", "certificate to show to the server, in PEM (ROLLCALL_CERT)")
	flags.StringVar(&c.key, "key", "", "private key of the certificate, in PEM (ROLLCALL_KEY)")
	flags.StringVar(&c.namespace, "ns", domain.DefaultNamespace, "namespace; '*' for all, where a command lists (ROLLCALL_NS); events are of all unless it is named")
	flags.BoolVarP(&c.everywhere, "all-namespaces", "A", false, "the same as --ns '*'")
	flags.StringVar(&c.token, "token", "", "secret of the token to show to the server (ROLLCALL_TOKEN, which other users of the machine do not see)")
	flags.StringVar(&c.tokenFile, "token-file", "", "file with the token to show to the server, such as the token of a Kubernetes service account (ROLLCALL_TOKEN_FILE)")
	flags.StringVar(&c.data, "data", "", "data folder of a registry on this machine: ask it through its socket, which needs no token (ROLLCALL_DATA)")
	c.own, c.dataFlag = flags, flags.Lookup("data")
	flags.StringVarP(&c.output, "output", "o", asTable, "table, wide, json, yaml or name; of reports also csv or markdown")
	flags.BoolVar(&c.noHeaders, "no-headers", false, "tables without titles and headers")
}

const defaultURL = "http://127.0.0.1:" + defaultPort

// settle completes what the flags left open: a flag goes before the environment, the environment before the context, the
// context before the default. The secrets of a context go with the context's URL only: another URL must not get them.
func (c *commandLine) settle(flags *pflag.FlagSet) error {
	if c.settled {
		return nil
	}
	c.settled = true
	var context registryContext
	file, err := loadContexts()
	if err != nil {
		c.fault = err
	} else if name := c.contextInUse(&file); name != "" {
		context, c.fault = file.find(name)
	}
	own := !flags.Changed("url") && os.Getenv("ROLLCALL_URL") == "" || flags.Changed("url") && c.url == context.URL
	c.fromContext = context.URL != "" && own
	c.chosen = flags.Changed("ns") || c.everywhere || os.Getenv("ROLLCALL_NS") != "" || context.Namespace != ""
	for _, s := range []struct {
		flag     string
		value    *string
		variable string
		context  string
		secret   bool
	}{
		{"url", &c.url, "ROLLCALL_URL", context.URL, false},
		{"ns", &c.namespace, "ROLLCALL_NS", context.Namespace, false},
		{"ca", &c.ca, "ROLLCALL_CA", context.CA, true},
		{"cert", &c.cert, "ROLLCALL_CERT", context.Cert, true},
		{"key", &c.key, "ROLLCALL_KEY", context.Key, true},
	} {
		if c.own.Changed(s.flag) { // of all commands: checkpoint had a --key of its own
			continue
		}
		if s.secret && !c.fromContext {
			s.context = ""
		}
		*s.value = cmp.Or(os.Getenv(s.variable), s.context, *s.value)
	}
	if err := c.settleToken(flags, context); err != nil {
		return usageError{err}
	}
	if err := c.settleSocket(flags); err != nil {
		return usageError{err}
	}
	if c.everywhere {
		if flags.Changed("ns") && c.namespace != queries.AllNamespaces {
			return usageError{errors.New("--all-namespaces and --ns do not go together")}
		}
		c.namespace = queries.AllNamespaces
	}
	if flags.Changed("ns") && c.namespace == "" {
		return usageError{errors.New("--ns must not be empty")} // a script whose variable is not set must not reach another namespace
	}
	c.url, err = registryURL(c.url, c.ca != "" || c.cert != "")
	if err != nil {
		return usageError{err}
	}
	return nil
}

// settleToken finds the token or the file of the first of the flags, the environment and the context that names either.
func (c *commandLine) settleToken(flags *pflag.FlagSet, context registryContext) error {
	switch {
	case flags.Changed("token") && flags.Changed("token-file"):
		return errors.New("--token and --token-file do not go together: one token is shown")
	case flags.Changed("token") || flags.Changed("token-file"):
		return nil
	}
	c.token, c.tokenFile = os.Getenv("ROLLCALL_TOKEN"), os.Getenv("ROLLCALL_TOKEN_FILE")
	if c.token == "" && c.tokenFile == "" && c.fromContext {
		c.token, c.tokenFile = context.Token, context.TokenFile
	}
	if c.token != "" {
		c.tokenFile = ""
	}
	return nil
}

// settleSocket finds whether the socket in a data folder is used. A command that has a flag --data of its own chooses itself.
func (c *commandLine) settleSocket(flags *pflag.FlagSet) error {
	if flags.Lookup("data") != c.dataFlag {
		return nil
	}
	if flags.Changed("data") {
		for _, other := range []string{"url", "token", "token-file"} {
			if flags.Changed(other) {
				return fmt.Errorf("--data and --%s do not go together: the socket in the data folder needs neither URL nor token", other)
			}
		}
		c.socket, c.onlySocket = c.data, true
		return nil
	}
	if !flags.Changed("url") && os.Getenv("ROLLCALL_URL") == "" && !c.fromContext && c.token == "" && c.tokenFile == "" {
		c.socket = os.Getenv("ROLLCALL_DATA")
	}
	return nil
}

// contextInUse is the name of the context that is meant; "": none.
func (c *commandLine) contextInUse(file *contextFile) string {
	return cmp.Or(c.context, os.Getenv("ROLLCALL_CONTEXT"), file.Current)
}

// client is the client of the registry at --url, or of the one on this machine that --data names.
func (c *commandLine) client() (*client.Client, error) { return c.clientWith(client.Options{}) }

// clientWith is client with options, which it completes.
func (c *commandLine) clientWith(options client.Options) (*client.Client, error) {
	if c.fault != nil {
		return nil, c.fault
	}
	if c.socket != "" {
		local, runs, err := localClient(c.socket, c, options)
		switch {
		case err != nil:
			return nil, err
		case runs:
			return local, nil
		case c.onlySocket:
			return nil, fmt.Errorf("no registry runs on the data folder %s", c.socket)
		}
		c.socket = "" // the folder is of a registry that does not run
	}
	options.Namespace, options.Via, options.Token, options.TokenFile = c.namespace, cmp.Or(options.Via, domain.ViaCLI), c.token, c.tokenFile
	if err := c.secure(&options); err != nil {
		return nil, usageError{err}
	}
	remote, err := client.New(c.url, options)
	if err != nil {
		return nil, usageError{err}
	}
	return remote, nil
}

// secure has calls over TLS trust the authorities of --ca and show the certificate of --cert.
func (c *commandLine) secure(options *client.Options) error {
	if c.ca == "" && c.cert == "" && c.key == "" && !strings.Contains(c.url, "https://") {
		return nil
	}
	if c.transport == nil {
		config, err := client.TLS(c.ca, c.cert, c.key)
		if err != nil {
			return err
		}
		c.transport = http.DefaultTransport.(*http.Transport).Clone()
		c.transport.TLSClientConfig = config
	}
	options.Transport = c.transport
	return nil
}

// instance parses service/id or namespace/service/id.
func (c *commandLine) instance(arg string) (domain.Key, error) {
	if strings.Count(arg, "/") == 1 {
		if c.namespace == queries.AllNamespaces {
			return domain.Key{}, usageError{fmt.Errorf("an instance is in one namespace: give --ns, or namespace/%s", arg)}
		}
		arg = c.namespace + "/" + arg
	}
	key, err := domain.ParseKey(arg)
	if err != nil {
		return key, usageError{fmt.Errorf("instance %q: %w", arg, err)}
	}
	return key, nil
}

// service is a service in --ns.
func (c *commandLine) service(name string) (domain.ServiceKey, error) {
	if c.namespace == queries.AllNamespaces {
		return domain.ServiceKey{}, usageError{fmt.Errorf("service %s is in one namespace: give --ns", name)}
	}
	return domain.ServiceKey{Namespace: c.namespace, Service: name}, nil
}

// scope is the namespace that a list is of; "": all.
func (c *commandLine) scope() string {
	if c.namespace == queries.AllNamespaces {
		return ""
	}
	return c.namespace
}

// scopeWords name the scope.
func (c *commandLine) scopeWords() string {
	return scopeText(c.scope())
}

// showValue is show for what is not a reply of the registry.
func (c *commandLine) showValue(cmd *cobra.Command, value any, names func() []string, people func(w io.Writer) error) error {
	b, err := json.Marshal(value)
	if err != nil {
		return err
	}
	return c.show(cmd, b, names, people)
}

// printDone says what was done to something that has a name.
func (c *commandLine) printDone(cmd *cobra.Command, kind, name, did string) error {
	return c.showValue(cmd, map[string]string{kind: name, "done": did}, func() []string { return []string{name} }, func(w io.Writer) error {
		_, err := fmt.Fprintf(w, "%s %s %s\n", kind, name, did)
		return err
	})
}

// absolute makes a path independent of the folder in which a command runs; "" stays.
func absolute(path *string) (err error) {
	if *path != "" {
		*path, err = filepath.Abs(*path)
	}
	return err
}
