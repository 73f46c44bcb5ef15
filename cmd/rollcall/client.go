package main

import (
	"bytes"
	"fmt"
	"io"
	"net/http"
	"os"
	"strings"
	"text/tabwriter"

	"github.com/spf13/cobra"

	"github.com/rollcall-registry/rollcall/adapters/client"
	"github.com/rollcall-registry/rollcall/domain"
)

// commandLine is what all client commands share: which registry they ask, and how they show its answers.
type commandLine struct {
	url, namespace, output string

	tokenFile     string          // file with a secret that others renew; "": none
	token         string          // secret that is shown to the registry; "": that of ROLLCALL_TOKEN, or none
	ca, cert, key string          // PEM files for TLS; "": the system's authorities, no certificate
	transport     *http.Transport // made of them, once
}

// client is the client of the registry at --url.
func (c *commandLine) client() (*client.Client, error) {
	options := client.Options{Namespace: c.namespace, Via: "cli", Token: c.secret(), TokenFile: c.secretFile()}
	if err := c.secure(&options); err != nil {
		return nil, usageError{err}
	}
	remote, err := client.New(c.url, options)
	if err != nil {
		return nil, usageError{err}
	}
	return remote, nil
}

// secret is that of --token or ROLLCALL_TOKEN. The variable is no flag's default: --help would show it.
func (c *commandLine) secret() string {
	if c.token != "" {
		return c.token
	}
	return os.Getenv("ROLLCALL_TOKEN")
}

// secretFile is --token-file or ROLLCALL_TOKEN_FILE, unless a secret is given.
func (c *commandLine) secretFile() string {
	if c.secret() != "" {
		return ""
	}
	return c.tokenFile
}

// secure has calls trust the authorities of --ca and show the certificate of --cert.
func (c *commandLine) secure(options *client.Options) error {
	if c.ca == "" && c.cert == "" && c.key == "" {
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
		arg = c.namespace + "/" + arg
	}
	key, err := domain.ParseKey(arg)
	if err != nil {
		return key, usageError{fmt.Errorf("instance %q: %w", arg, err)}
	}
	return key, nil
}

// service is a service in --ns.
func (c *commandLine) service(name string) domain.ServiceKey {
	return domain.ServiceKey{Namespace: c.namespace, Service: name}
}

// scope is the namespace that was named on the command line; "": none was, so all are meant.
func (c *commandLine) scope(cmd *cobra.Command) string {
	if cmd.Flags().Changed("ns") {
		return c.namespace
	}
	return ""
}

// print shows a reply: as it is to programs, as a table or a line to people.
func (c *commandLine) print(cmd *cobra.Command, reply []byte, people func(w io.Writer) error) error {
	out := cmd.OutOrStdout()
	switch c.output {
	case "json":
		_, err := fmt.Fprintf(out, "%s\n", bytes.TrimSpace(reply))
		return err
	case "table":
		return people(out)
	}
	return usageError{fmt.Errorf("output must be table or json, not %q", c.output)}
}

// table writes columns that line up.
func table(w io.Writer, header string, rows func(row func(cells ...any))) error {
	t := tabwriter.NewWriter(w, 2, 8, 2, ' ', 0)
	fmt.Fprintln(t, header)
	rows(func(cells ...any) {
		for i, cell := range cells {
			if i > 0 {
				fmt.Fprint(t, "\t")
			}
			fmt.Fprint(t, cell)
		}
		fmt.Fprintln(t)
	})
	return t.Flush()
}
