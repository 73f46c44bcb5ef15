//go:build !(darwin || dragonfly || freebsd || linux || netbsd || openbsd)

package backup

// lock locks nothing where the system has no lock for a folder: whoever runs two backups to one folder must see to it.
func lock(string) (release func() error, err error) { return func() error { return nil }, nil }
