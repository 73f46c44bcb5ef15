package main

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"

	"github.com/spf13/pflag"
	"go.yaml.in/yaml/v3"

	"github.com/rollcall-registry/rollcall/adapters/access"
	"github.com/rollcall-registry/rollcall/projections/durable"
)

// configure fills the flags that the command line left alone, from the environment (--data is
// ROLLCALL_DATA, --log-level is ROLLCALL_LOG_LEVEL), then from the YAML file (data:, log-level:).
func configure(flags *pflag.FlagSet) error {
	for _, from := range []func(*pflag.FlagSet) error{fromEnvironment, fromFile} {
		if err := from(flags); err != nil {
			return usageError{err}
		}
	}
	return nil
}

func fromEnvironment(flags *pflag.FlagSet) error {
	var errs []error
	flags.VisitAll(func(f *pflag.Flag) {
		name := "ROLLCALL_" + strings.ToUpper(strings.ReplaceAll(f.Name, "-", "_"))
		if v, ok := os.LookupEnv(name); ok && !f.Changed {
			if err := flags.Set(f.Name, v); err != nil {
				errs = append(errs, fmt.Errorf("%s: %w", name, err))
			}
		}
	})
	return errors.Join(errs...)
}

func fromFile(flags *pflag.FlagSet) error {
	path := flags.Lookup("config").Value.String()
	if path == "" {
		return nil
	}
	content, err := durable.ReadRegular(path)
	if err != nil {
		return err
	}
	var settings map[string]yaml.Node
	if err := yaml.NewDecoder(bytes.NewReader(content)).Decode(&settings); err != nil && !errors.Is(err, io.EOF) {
		return fmt.Errorf("%s: %s", path, access.YAMLWords(err))
	}
	for name, node := range settings {
		flag := flags.Lookup(name)
		if flag == nil || name == "config" || name == "help" {
			return fmt.Errorf("%s:%d: there is no setting %q", path, node.Line, name)
		}
		list, isList := flag.Value.(pflag.SliceValue)
		if node.Kind != yaml.ScalarNode && !(isList && node.Kind == yaml.SequenceNode) {
			return fmt.Errorf("%s:%d: %s must be a single value", path, node.Line, name)
		}
		if node.Tag == "!!null" {
			return fmt.Errorf("%s:%d: %s must have a value, or be left out", path, node.Line, name)
		}
		if flag.Changed {
			continue
		}
		if node.Kind == yaml.SequenceNode {
			var values []string
			if err := node.Decode(&values); err != nil {
				return fmt.Errorf("%s: %s", path, access.YAMLWords(err))
			}
			if err := list.Replace(values); err != nil {
				return fmt.Errorf("%s:%d: %w", path, node.Line, err)
			}
			flag.Changed = true
			continue
		}
		if err := flags.Set(name, node.Value); err != nil {
			return fmt.Errorf("%s:%d: %w", path, node.Line, err)
		}
	}
	return nil
}
