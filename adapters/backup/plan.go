package backup

import (
	"context"
	"encoding/json"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"github.com/rollcall-registry/rollcall/projections/durable"
)

// planName is the file in incomingFolder that names what a backup puts into the folder and what it removes.
const planName = "plan.json"

// plan lets the next backup remove what a backup that was killed has left: files that no manifest names.
//
// INVARIANT: a file that a plan names was put there by a backup, or named by the manifest of one: its path was free, or it has
// the content that the plan says. So nothing else is ever removed.
type plan struct {
	Files []File `json:"files"`
}

// plan writes what is about to be placed and removed.
func (t *Target) plan(m *Manifest, received map[string]arrival, incoming string) error {
	p := plan{Files: t.before.Files}
	for _, f := range m.Files {
		if _, ok := received[f.Name]; !ok {
			continue
		}
		for _, path := range paths(f) {
			f.Path = path
			if _, err := os.Lstat(f.path(t.dir)); errors.Is(err, fs.ErrNotExist) {
				p.Files = append(p.Files[:len(p.Files):len(p.Files)], f)
			}
		}
	}
	b, err := json.Marshal(p)
	if err != nil {
		return err
	}
	return durable.WriteFile(filepath.Join(incoming, planName), b, 0o600)
}

// readPlan reads the plan of a backup that did not end. There is none if that backup placed nothing.
func readPlan(dir string) (p plan) {
	b, err := durable.ReadFile(filepath.Join(dir, incomingFolder, planName))
	if err != nil || json.Unmarshal(b, &p) != nil {
		return plan{}
	}
	for _, f := range p.Files {
		if !filepath.IsLocal(filepath.FromSlash(f.Name)) || f.Path != "" && !filepath.IsLocal(filepath.FromSlash(f.Path)) {
			return plan{}
		}
	}
	return p
}

// sweep removes the files of the plan that the manifest does not name.
func sweep(dir string) (err error) {
	m, _, err := ReadManifest(dir)
	if err != nil {
		return err
	}
	named := map[string]bool{}
	for _, f := range m.Files {
		named[f.path(dir)] = true
	}
	for _, f := range readPlan(dir).Files {
		path := f.path(dir)
		if info, statErr := os.Lstat(path); named[path] || statErr != nil || !info.Mode().IsRegular() || checkFile(context.Background(), dir, f) != nil {
			continue
		}
		err = errors.Join(err, os.Remove(path))
	}
	return err
}

// unended says whether a folder without a manifest has nothing but what first backups have left that did not end: files that a plan
// names, incomingFolder with what backups put there, and empty folders.
func unended(dir string) bool {
	left := map[string]bool{}
	for _, f := range readPlan(dir).Files {
		if checkFile(context.Background(), dir, f) == nil {
			left[f.path(dir)] = true
		}
	}
	incoming, only := filepath.Join(dir, incomingFolder), true
	err := filepath.WalkDir(dir, func(path string, e fs.DirEntry, err error) error {
		ours := left[path] || filepath.Dir(path) == incoming && arrives(e.Name())
		switch {
		case err != nil:
			return err
		case e.IsDir() && filepath.Dir(path) != incoming, e.Type().IsRegular() && ours:
			return nil
		}
		only = false
		return fs.SkipAll
	})
	return only && err == nil
}

// arrives says whether a file in incomingFolder has a name that a backup gives: a number, or that of the plan or the manifest, also
// while they are written.
func arrives(name string) bool {
	name = strings.TrimRight(name, "0123456789") // of a file that is being written, too
	return name == "" || strings.TrimPrefix(name, ".") == planName || strings.TrimPrefix(name, ".") == ManifestName
}
