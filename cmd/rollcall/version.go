package main

import (
	"fmt"
	"io"
	"runtime"
	"runtime/debug"

	"github.com/spf13/cobra"
)

// version is set by the release build; a build from source names its commit.
var version = ""

// build is what the program knows of its making.
type build struct {
	Version string `json:"version"`
	Commit  string `json:"commit,omitempty"` // "": it was not built from a repository
	Date    string `json:"date,omitempty"`   // of the commit, RFC 3339
	Changed bool   `json:"changed"`          // there were changes that were not committed
	Go      string `json:"go"`
	System  string `json:"system"`
}

func thisBuild() build {
	b := build{Version: versionName(), Go: runtime.Version(), System: runtime.GOOS + "/" + runtime.GOARCH}
	if info, ok := debug.ReadBuildInfo(); ok {
		for _, s := range info.Settings {
			switch s.Key {
			case "vcs.revision":
				b.Commit = s.Value
			case "vcs.time":
				b.Date = s.Value
			case "vcs.modified":
				b.Changed = s.Value == "true"
			}
		}
	}
	return b
}

func versionName() string {
	if version != "" {
		return version
	}
	if info, ok := debug.ReadBuildInfo(); ok {
		for _, s := range info.Settings {
			if s.Key == "vcs.revision" {
				return "dev-" + s.Value[:min(12, len(s.Value))]
			}
		}
	}
	return "dev"
}

func versionCommand(remote *commandLine) *cobra.Command {
	return &cobra.Command{
		Use: "version", Short: "Print the program's version, its commit and its date", Args: cobra.NoArgs,
		RunE: func(c *cobra.Command, _ []string) error {
			b := thisBuild()
			return remote.printValue(c, b, func(w io.Writer) error {
				commit := "unknown"
				if b.Commit != "" {
					commit = b.Commit + " of " + b.Date
				}
				if b.Changed {
					commit += ", with changes"
				}
				_, err := fmt.Fprintf(w, "rollcall %s\ncommit   %s\nbuilt by %s for %s\n", b.Version, commit, b.Go, b.System)
				return err
			})
		},
	}
}
