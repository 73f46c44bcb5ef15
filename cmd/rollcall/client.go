package main

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/spf13/cobra"

	"github.com/rollcall-registry/rollcall/domain"
)

// client talks to a server on behalf of a subcommand.
type client struct {
	url, namespace, output string
}

// problem is a server's refusal.
type problem struct {
	Type   string `json:"type"`
	Title  string `json:"title"`
	Status int    `json:"status"`
	Detail string `json:"detail"`
}

func (p *problem) Error() string {
	if p.Detail != "" {
		return p.Detail
	}
	return fmt.Sprintf("the server answered %d %s", p.Status, http.StatusText(p.Status))
}

var httpClient = &http.Client{Timeout: 30 * time.Second}

// call sends a request and returns the reply's body; anything but success is an error.
func (c *client) call(ctx context.Context, method, path string, query url.Values, body any) ([]byte, error) {
	r, err := c.request(ctx, method, path, query, body)
	if err != nil {
		return nil, err
	}
	resp, err := httpClient.Do(r)
	if err != nil {
		return nil, fmt.Errorf("no answer from %s: %w", c.url, err)
	}
	defer resp.Body.Close()
	reply, err := io.ReadAll(resp.Body)
	if err != nil {
		return nil, fmt.Errorf("the answer from %s broke off: %w", c.url, err)
	}
	return reply, refusal(resp, reply)
}

func refusal(resp *http.Response, reply []byte) error {
	if resp.StatusCode < 300 {
		return nil
	}
	p := &problem{Status: resp.StatusCode}
	if err := json.Unmarshal(reply, p); err != nil || p.Status == 0 {
		return &problem{Status: resp.StatusCode, Detail: fmt.Sprintf("%s is not a Rollcall server: it answered %s", resp.Request.URL.Host, resp.Status)}
	}
	return p
}

func (c *client) request(ctx context.Context, method, path string, query url.Values, body any) (*http.Request, error) {
	var content io.Reader
	if body != nil {
		b, err := json.Marshal(body)
		if err != nil {
			return nil, err
		}
		content = bytes.NewReader(b)
	}
	if query == nil {
		query = url.Values{}
	}
	if !query.Has("ns") {
		query.Set("ns", c.namespace)
	}
	r, err := http.NewRequestWithContext(ctx, method, strings.TrimSuffix(c.url, "/")+path+"?"+query.Encode(), content)
	if err != nil {
		return nil, usageError{err}
	}
	r.Header.Set("Rollcall-Via", "cli")
	if body != nil {
		r.Header.Set("Content-Type", "application/json")
	}
	return r, nil
}

// instance parses service/id or namespace/service/id and gives the instance's path and namespace.
func (c *client) instance(arg string) (path string, query url.Values, err error) {
	if strings.Count(arg, "/") == 1 {
		arg = c.namespace + "/" + arg
	}
	key, err := domain.ParseKey(arg)
	if err != nil {
		return "", nil, usageError{fmt.Errorf("instance %q: %w", arg, err)}
	}
	return "/v1/services/" + key.Service + "/instances/" + url.PathEscape(key.ID), url.Values{"ns": {key.Namespace}}, nil
}

// print shows a reply: as it is to programs, as a table or a line to people.
func (c *client) print(cmd *cobra.Command, reply []byte, people func(w io.Writer) error) error {
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
