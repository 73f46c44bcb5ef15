package bench

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/labstack/echo/v4"
	"github.com/spf13/cobra"
)

// maxFloorBytes is the most that a floor sends as one answer.
const maxFloorBytes = 16 << 20

// FloorCommand serves what a server with this project's libraries can do at best: echo handlers that
// answer and do nothing. With --raw it serves what Go can do at best, see serveRaw.
func FloorCommand() *cobra.Command {
	var raw bool
	var targets int
	c := &cobra.Command{Use: "bench-floor", Hidden: true, Args: cobra.NoArgs}
	c.Flags().BoolVar(&raw, "raw", false, "answer on the connections, without net/http")
	c.Flags().IntVar(&targets, "targets", 0, "serve so many targets of probes instead")
	c.RunE = func(c *cobra.Command, _ []string) error {
		if targets > 0 {
			return serveTargets(c.Context(), targets)
		}
		listener, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			return err
		}
		ready := func() {
			fmt.Fprintf(os.Stderr, "{\"msg\":\"rollcall is ready\",\"url\":\"http://%s\"}\n", listener.Addr())
		}
		if raw {
			ready()
			return serveRaw(c.Context(), listener)
		}
		e := echo.New()
		e.PUT("/204", func(c echo.Context) error { return c.NoContent(http.StatusNoContent) })
		most := []byte(strings.Repeat("x", maxFloorBytes))
		e.GET("/bytes/:size", func(c echo.Context) error {
			size, err := strconv.Atoi(c.Param("size"))
			if err != nil || size < 0 || size > len(most) {
				return echo.ErrBadRequest
			}
			c.Response().Header()["Content-Length"] = []string{c.Param("size")} // else a long reply goes in chunks
			return c.JSONBlob(http.StatusOK, most[:size])
		})
		ready()
		server := &http.Server{Handler: e, ReadHeaderTimeout: 5 * time.Second}
		context.AfterFunc(c.Context(), func() { _ = server.Close() })
		if err := server.Serve(listener); !errors.Is(err, http.ErrServerClosed) {
			return err
		}
		return nil
	}
	return c
}

// fileLog is the floor of durable appends: events go to a file, one fsync for all that wait.
func fileLog(dir string, callers, events int, d time.Duration) (perSecond float64, err error) {
	f, err := os.Create(filepath.Join(dir, "floor.log"))
	if err != nil {
		return 0, err
	}
	defer func() { err = errors.Join(err, f.Close(), os.Remove(f.Name())) }()
	type call struct{ done chan error }
	queue := make(chan call, callers) // closed when all callers have ended
	event := []byte(strings.Repeat("e", 256))
	var committer, group sync.WaitGroup
	committer.Go(func() {
		var b []byte
		for first := range queue {
			waiting := []call{first}
			for more := true; more; {
				select {
				case c, ok := <-queue:
					if more = ok; ok {
						waiting = append(waiting, c)
					}
				default:
					more = false
				}
			}
			b = b[:0]
			for range len(waiting) * events {
				b = append(b, event...)
			}
			_, err := f.Write(b)
			err = errors.Join(err, f.Sync())
			for _, c := range waiting {
				c.done <- err
			}
		}
	})
	began := time.Now()
	counts := make([]int, callers)
	for i := range callers {
		group.Go(func() {
			c := call{make(chan error, 1)}
			for time.Since(began) < d {
				queue <- c
				if err := <-c.done; err != nil {
					return
				}
				counts[i] += events
			}
		})
	}
	group.Wait()
	close(queue)
	committer.Wait()
	total := 0
	for _, n := range counts {
		total += n
	}
	return float64(total) / time.Since(began).Seconds(), nil
}
