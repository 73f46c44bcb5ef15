package main

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log"
	"math/rand/v2"
	"net"
	"net/http"
	"net/url"
	"os"
	"os/signal"
	"path/filepath"
	"strings"
	"syscall"
	"time"

	clientv3 "go.etcd.io/etcd/client/v3"
	"go.etcd.io/etcd/server/v3/embed"
)

// freeAddress is an address of this machine at which nobody listens. Where the system has all of 127.0.0.0/8, it is hardly one that anybody
// else has, nor one that connections go out from.
func freeAddress() string {
	l, err := net.Listen("tcp", fmt.Sprintf("127.%d.%d.%d:0", 1+rand.IntN(254), rand.IntN(256), 1+rand.IntN(254)))
	if err != nil {
		l, err = net.Listen("tcp", "127.0.0.1:0")
	}
	if err != nil {
		log.Fatal(err)
	}
	defer l.Close()
	return l.Addr().String()
}

// errEnded is for servers of which a process has ended before all of them were ready.
var errEnded = errors.New("a process has ended")

// tries is how often servers are started at most.
const tries = 5

// started starts servers, each time at other addresses and in a folder of their own, until no process ends: another program may take an
// address after it was found to be free.
func started(dir string, start func(dir string) (*servers, error)) (t *servers, err error) {
	for range tries {
		folder, failed := os.MkdirTemp(dir, "")
		if failed != nil {
			return nil, failed
		}
		if t, err = start(folder); err == nil {
			return t, nil
		}
		t.stop()
		if !errors.Is(err, errEnded) {
			break
		}
	}
	return nil, err
}

// runEtcd is a process of etcd: its name, folder, client address, peer address and the members.
func runEtcd(args []string) {
	config := embed.NewConfig()
	config.Name, config.Dir, config.InitialCluster = args[0], args[1], args[4]
	config.LogLevel, config.LogOutputs = "error", []string{"stderr"}
	client, peer := url.URL{Scheme: "http", Host: args[2]}, url.URL{Scheme: "http", Host: args[3]}
	config.ListenClientUrls, config.AdvertiseClientUrls = []url.URL{client}, []url.URL{client}
	config.ListenPeerUrls, config.AdvertisePeerUrls = []url.URL{peer}, []url.URL{peer}
	e, err := embed.StartEtcd(config)
	if err != nil {
		log.Fatal(err)
	}
	ended := make(chan os.Signal, 1)
	signal.Notify(ended, syscall.SIGTERM, os.Interrupt)
	select {
	case <-ended:
	case err := <-e.Err():
		log.Print(err)
	}
	e.Close()
}

func startEtcd(ctx context.Context, dir string) (*servers, error) {
	t := &servers{}
	var members, peers []string
	for i := range 3 {
		t.urls = append(t.urls, freeAddress())
		peers = append(peers, freeAddress())
		members = append(members, fmt.Sprintf("e%d=http://%s", i, peers[i]))
	}
	self, err := os.Executable()
	if err != nil {
		return t, err
	}
	for i := range 3 {
		if err := t.start(self, "etcd-node", fmt.Sprint("e", i), filepath.Join(dir, fmt.Sprint("e", i)), t.urls[i], peers[i], strings.Join(members, ",")); err != nil {
			return t, err
		}
	}
	c, err := clientv3.New(clientv3.Config{Endpoints: t.urls, DialTimeout: 30 * time.Second})
	if err != nil {
		return t, err
	}
	defer c.Close()
	for i, u := range t.urls {
		var status *clientv3.StatusResponse
		err := t.await(ctx, "etcd", u, func() (err error) {
			within, cancel := context.WithTimeout(ctx, 5*time.Second)
			defer cancel()
			status, err = c.Status(within, u)
			return err
		})
		if err != nil {
			return t, err
		}
		if status.Leader == status.Header.MemberId {
			t.leader = i
		}
	}
	return t, nil
}

func startRollcall(ctx context.Context, binary, dir string, debug bool) (*servers, error) {
	t := &servers{}
	var members []string
	for i := range 3 {
		t.urls = append(t.urls, freeAddress())
		members = append(members, fmt.Sprintf("n%d=%s", i, freeAddress()))
	}
	for i := range 3 {
		args := []string{"serve", "--node", fmt.Sprint("n", i), "--cluster", strings.Join(members, ","), "--listen", t.urls[i], "--data", filepath.Join(dir, fmt.Sprint("n", i)), "--log-level", "error"}
		if debug {
			t.debug = append(t.debug, freeAddress())
			args = append(args, "--debug-listen", t.debug[i])
		}
		if err := t.start(binary, args...); err != nil {
			return t, err
		}
		t.metrics = append(t.metrics, "http://"+t.urls[i]+"/metrics")
	}
	for i, u := range t.urls {
		err := t.await(ctx, "rollcall", u, func() error {
			role, err := roleOf(u)
			if role == "leader" {
				t.leader = i
			}
			return err
		})
		if err != nil {
			return t, err
		}
	}
	return t, nil
}

// startAlone starts a node of Rollcall that belongs to no cluster.
func startAlone(ctx context.Context, binary, dir string) (*servers, error) {
	t := &servers{urls: []string{freeAddress()}}
	if err := t.start(binary, "serve", "--listen", t.urls[0], "--data", filepath.Join(dir, "alone"), "--log-level", "error"); err != nil {
		return t, err
	}
	return t, t.await(ctx, "rollcall", t.urls[0], func() error {
		resp, err := http.Get("http://" + t.urls[0] + "/readyz")
		if err != nil {
			return err
		}
		defer resp.Body.Close()
		if resp.StatusCode != http.StatusOK { // it closes connections when it is ready
			return errors.New(resp.Status)
		}
		return nil
	})
}

// await asks a node until it is ready, for a minute at most.
func (t *servers) await(ctx context.Context, who, address string, ready func() error) error {
	for began := time.Now(); ; time.Sleep(100 * time.Millisecond) {
		err := ready()
		switch {
		case err == nil:
			return nil
		case t.ended():
			return fmt.Errorf("%s at %s: %w", who, address, errEnded)
		case time.Since(began) > time.Minute || ctx.Err() != nil:
			return fmt.Errorf("%s at %s: %w", who, address, err)
		}
	}
}

func roleOf(address string) (string, error) {
	resp, err := http.Get("http://" + address + "/v1/cluster")
	if err != nil {
		return "", err
	}
	defer resp.Body.Close()
	var status struct{ Role, Leader string }
	if err := json.NewDecoder(bufio.NewReader(resp.Body)).Decode(&status); err != nil {
		return "", err
	}
	if resp.StatusCode != http.StatusOK || status.Leader == "" {
		return "", fmt.Errorf("status %d, no leader", resp.StatusCode)
	}
	return status.Role, nil
}
