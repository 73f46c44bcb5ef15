package main

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"strings"

	"github.com/spf13/cobra"
)

// contextView is a context as programs are shown it: without the secret.
type contextView struct {
	Name    string `json:"name"`
	Current bool   `json:"current"`
	registryContext
	HasToken bool `json:"has_token"`
}

func (f *contextFile) view(name string) contextView {
	return contextView{name, name == f.Current, f.Contexts[name], f.Contexts[name].Token != "" || f.Contexts[name].TokenFile != ""}
}

func contextCommand(remote *commandLine) *cobra.Command {
	c := group("context", "Keep the registries that you work with by name, and choose one")
	c.Long = `A context is a registry's URL, and optionally a namespace, a token and certificates. The contexts are in
rollcall/contexts.yaml in $XDG_CONFIG_HOME (~/.config), which only its user may read.

What a flag says goes before the environment (ROLLCALL_URL …), the environment before the context, the context
before the defaults. The token and the certificates of a context are shown to the context's URL only.`
	c.AddCommand(addContextCommand(remote), useContextCommand(remote), listContextsCommand(remote), showContextCommand(remote), removeContextCommand(remote))
	return c
}

func addContextCommand(remote *commandLine) *cobra.Command {
	var use bool
	c := &cobra.Command{
		Use:   "add NAME --url URL",
		Short: "Add a context, or change what the flags name of one",
		Example: "  rollcall context add prod --url https://rollcall.example.com:7700 --ns shop --ca ca.pem --use\n" +
			"  rollcall context add prod --token - < secret.txt",
		Args: cobra.ExactArgs(1),
	}
	c.Flags().BoolVar(&use, "use", false, "and use it from now on; the first one is used in any case")
	c.RunE = func(c *cobra.Command, args []string) error {
		name := args[0]
		if !contextName.MatchString(name) {
			return usageError{errors.New("the name of a context must be 1-64 letters, digits, dots, dashes and underscores, and begin with a letter or digit")}
		}
		file, err := loadContexts()
		if err != nil {
			return err
		}
		context, known := file.Contexts[name]
		if err := remote.given(c, &context); err != nil {
			return err
		}
		if context.URL == "" {
			return usageError{errors.New("--url is needed")}
		}
		if file.Contexts == nil {
			file.Contexts = map[string]registryContext{}
		}
		file.Contexts[name] = context
		if use || file.Current == "" {
			file.Current = name
		}
		if err := file.save(); err != nil {
			return err
		}
		return remote.printValue(c, file.view(name), func(w io.Writer) error {
			did := map[bool]string{false: "added", true: "changed"}[known]
			if file.Current == name {
				did += ", and in use"
			}
			_, err := fmt.Fprintf(w, "context %s: %s %s\n", name, context.URL, did)
			return err
		})
	}
	return c
}

// given puts what the command line names of a context into it. The environment is left out: a context must not keep what
// a shell happens to have.
func (c *commandLine) given(cmd *cobra.Command, context *registryContext) error {
	flags := cmd.Flags()
	for name, field := range map[string]*string{"ns": &context.Namespace, "ca": &context.CA, "cert": &context.Cert, "key": &context.Key, "token": &context.Token, "token-file": &context.TokenFile} {
		if flags.Changed(name) {
			*field = flags.Lookup(name).Value.String()
		}
	}
	if flags.Changed("token") && context.Token == "-" {
		line, err := bufio.NewReader(cmd.InOrStdin()).ReadString('\n')
		if err != nil && line == "" {
			return usageError{fmt.Errorf("no token comes on standard input: %w", err)}
		}
		context.Token = strings.TrimSpace(line)
	}
	for _, path := range []*string{&context.CA, &context.Cert, &context.Key, &context.TokenFile} {
		if err := absolute(path); err != nil {
			return err
		}
	}
	if flags.Changed("url") {
		var err error
		if context.URL, err = registryURL(flags.Lookup("url").Value.String(), context.CA != "" || context.Cert != ""); err != nil {
			return usageError{err}
		}
	}
	if context.URL == "" {
		return nil
	}
	probe := commandLine{url: context.URL, namespace: context.Namespace, token: context.Token, tokenFile: context.TokenFile, ca: context.CA, cert: context.Cert, key: context.Key, settled: true}
	_, err := probe.client()
	return err
}

func useContextCommand(remote *commandLine) *cobra.Command {
	c := &cobra.Command{Use: "use NAME", Short: "Use a context from now on", Args: cobra.ExactArgs(1), ValidArgsFunction: completeContexts}
	c.RunE = func(c *cobra.Command, args []string) error {
		file, err := loadContexts()
		if err != nil {
			return err
		}
		context, err := file.find(args[0])
		if err != nil {
			return err
		}
		file.Current = args[0]
		if err := file.save(); err != nil {
			return err
		}
		return remote.printValue(c, file.view(args[0]), func(w io.Writer) error {
			_, err := fmt.Fprintf(w, "context %s is in use: %s\n", args[0], context.URL)
			return err
		})
	}
	return c
}

func listContextsCommand(remote *commandLine) *cobra.Command {
	return &cobra.Command{
		Use: "list", Aliases: []string{"ls"}, Short: "List the contexts", Args: cobra.NoArgs,
		RunE: func(c *cobra.Command, _ []string) error {
			file, err := loadContexts()
			if err != nil {
				return err
			}
			views := []contextView{}
			for _, name := range file.names() {
				views = append(views, file.view(name))
			}
			return remote.showValue(c, map[string]any{"contexts": views}, file.names, func(w io.Writer) error { return contextTable(w, views) })
		},
	}
}

func contextTable(w io.Writer, views []contextView) error {
	return table(w, "\tNAME\tURL\tNAMESPACE\tTOKEN|CA\tCERTIFICATE", func(row func(...any)) {
		for _, v := range views {
			mark, token := " ", "-"
			if v.Current {
				mark = "*"
			}
			if v.HasToken {
				token = "yes"
			}
			row(mark, v.Name, v.URL, dash(v.Namespace), token, dash(v.CA), dash(v.Cert))
		}
	})
}

func showContextCommand(remote *commandLine) *cobra.Command {
	return &cobra.Command{
		Use: "show [NAME]", Short: "Show a context, or the one in use", Args: cobra.MaximumNArgs(1), ValidArgsFunction: completeContexts,
		RunE: func(c *cobra.Command, args []string) error {
			file, err := loadContexts()
			if err != nil {
				return err
			}
			name := remote.contextInUse(&file)
			if len(args) == 1 {
				name = args[0]
			}
			if name == "" {
				return usageError{errors.New("no context is in use: name one, or run rollcall context use NAME")}
			}
			if _, err := file.find(name); err != nil {
				return err
			}
			view := file.view(name)
			return remote.showValue(c, view, func() []string { return []string{name} }, func(w io.Writer) error { return contextTable(w, []contextView{view}) })
		},
	}
}

func removeContextCommand(remote *commandLine) *cobra.Command {
	return &cobra.Command{
		Use: "remove NAME", Aliases: []string{"rm"}, Short: "Remove a context, with its token", Args: cobra.ExactArgs(1), ValidArgsFunction: completeContexts,
		RunE: func(c *cobra.Command, args []string) error {
			file, err := loadContexts()
			if err != nil {
				return err
			}
			if _, err := file.find(args[0]); err != nil {
				return err
			}
			delete(file.Contexts, args[0])
			if file.Current == args[0] {
				file.Current = ""
			}
			if err := file.save(); err != nil {
				return err
			}
			return remote.printDone(c, "context", args[0], "removed")
		},
	}
}
