package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"time"

	"github.com/rollcall-registry/rollcall/adapters/client"
	"github.com/rollcall-registry/rollcall/domain"
)

// socketName is the name of the Unix socket in the data folder. Only the owner of the folder may connect to the socket.
// Every connection has an operator's rights.
const socketName = "rollcall.sock"

// listenLocal listens on the data folder's socket. REQUIRES: no other process uses the data folder. So a socket that
// exists already was left by a killed process. A folder in its place is put aside.
func listenLocal(data string, logger *slog.Logger) (net.Listener, error) {
	if err := os.MkdirAll(data, 0o750); err != nil {
		return nil, err
	}
	path := filepath.Join(data, socketName)
	if err := os.Remove(path); err != nil && !errors.Is(err, fs.ErrNotExist) {
		if err := putAside(path, "bad"); err != nil {
			return nil, err
		}
		logger.Error("what is in the place of the socket is put aside", "socket", path, "cause", err)
	}
	var l net.Listener
	err := throughFolder(data, func(reach string) (err error) {
		// The socket gets its name after its mode is set, so that no other user can ever connect.
		fresh := filepath.Join(reach, socketName+".new")
		if err := os.Remove(fresh); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return err
		}
		if l, err = net.Listen("unix", fresh); err != nil {
			return err
		}
		l.(*net.UnixListener).SetUnlinkOnClose(false)
		return errors.Join(os.Chmod(fresh, 0o600), os.Rename(fresh, filepath.Join(reach, socketName)))
	})
	if err != nil {
		if l != nil {
			err = errors.Join(err, l.Close())
		}
		return nil, fmt.Errorf("socket in the data folder: %w", err)
	}
	return &localListener{l, path}, nil
}

// localListener removes its socket on Close.
type localListener struct {
	net.Listener
	path string
}

func (l *localListener) Close() error {
	err := l.Listener.Close()
	if removed := os.Remove(l.path); removed != nil && !errors.Is(removed, fs.ErrNotExist) {
		err = errors.Join(err, removed)
	}
	return err
}

// throughFolder calls do with a path of the folder that is short: a socket's address has 107 bytes at most.
func throughFolder(folder string, do func(reach string) error) error {
	if len(folder)+len(socketName) < 90 {
		return do(folder)
	}
	f, err := os.Open(folder)
	if err != nil {
		return err
	}
	defer f.Close()
	return do(fmt.Sprintf("/proc/self/fd/%d", f.Fd()))
}

// localClient makes a client of the registry that runs on a data folder, through the folder's socket. ok is false if no
// registry runs there.
func localClient(data string, remote *commandLine, options client.Options) (c *client.Client, ok bool, err error) {
	dial := func(ctx context.Context) (conn net.Conn, err error) {
		err = throughFolder(data, func(reach string) (err error) {
			conn, err = (&net.Dialer{Timeout: 5 * time.Second}).DialContext(ctx, "unix", filepath.Join(reach, socketName))
			return err
		})
		return conn, err
	}
	probe, err := dial(context.Background())
	if err != nil {
		if errors.Is(err, fs.ErrPermission) {
			return nil, false, fmt.Errorf("a registry runs on %s, but its socket is another user's: %w", data, err)
		}
		return nil, false, nil
	}
	if err := probe.Close(); err != nil {
		return nil, false, err
	}
	transport := &http.Transport{DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) { return dial(ctx) }}
	options.Namespace, options.Via, options.Transport = remote.namespace, cmp.Or(options.Via, domain.ViaCLI), transport
	c, err = client.New("http://localhost", options)
	return c, err == nil, err
}
