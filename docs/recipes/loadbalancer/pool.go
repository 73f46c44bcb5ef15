// Command loadbalancer keeps a pool of the instances that may get traffic:
//
//	go run ./docs/recipes/loadbalancer http://127.0.0.1:7700 checkout [COMMAND ...]
//
// It prints the pool whenever it changes, and runs the command with the pool at its input, a line "id address port
// weight" for each instance with a port named http, or with only one port. When the registry is away, or the path to it is
// dead, it keeps the pool that it has, and goes on where it was once the registry is back.
package main

import (
	"context"
	"fmt"
	"log"
	"maps"
	"os"
	"os/exec"
	"slices"
	"strings"

	"github.com/rollcall-registry/rollcall/adapters/client"
	"github.com/rollcall-registry/rollcall/domain"
	"github.com/rollcall-registry/rollcall/queries/wire"
)

func main() {
	registry, err := client.New(os.Args[1], client.Options{})
	if err != nil {
		log.Fatal(err)
	}
	pool := map[domain.Key]wire.Instance{}
	for update, err := range registry.Follow(context.Background(), client.FollowQuery{
		Service:        domain.ServiceKey{Service: os.Args[2]},
		InstanceFilter: client.InstanceFilter{Ready: true},
		KeepTrying:     true,
		Lost:           func(err error) { log.Print(err) },
	}) {
		if err != nil {
			log.Fatal(err)
		}
		if update.Kind == wire.StreamCut {
			continue // the stream is resumed
		}
		update.Apply(pool)
		show(pool)
	}
}

// show prints the pool, and runs the command.
func show(pool map[domain.Key]wire.Instance) {
	instances := slices.SortedFunc(maps.Values(pool), func(a, b wire.Instance) int { return strings.Compare(a.ID, b.ID) })
	var shown, members strings.Builder
	for _, i := range instances {
		fmt.Fprintf(&shown, "%s %s", i.ID, i.Address)
		for _, name := range slices.Sorted(maps.Keys(i.Ports)) {
			fmt.Fprintf(&shown, " %s=%d", name, i.Ports[name])
		}
		fmt.Fprintf(&shown, " weight=%d,", i.Weight)
		if port, ok := portOf(i); ok {
			fmt.Fprintf(&members, "%s %s %d %d\n", i.ID, i.Address, port, i.Weight)
		}
	}
	fmt.Println("pool: " + shown.String())
	if len(os.Args) > 3 {
		c := exec.Command(os.Args[3], os.Args[4:]...)
		c.Stdin, c.Stdout, c.Stderr = strings.NewReader(members.String()), os.Stdout, os.Stderr
		if err := c.Run(); err != nil {
			log.Printf("%s failed: %v", os.Args[3], err)
		}
	}
}

// portOf is the port named http, or else the only port.
func portOf(i wire.Instance) (port uint16, ok bool) {
	if port, ok = i.Ports["http"]; !ok && len(i.Ports) == 1 {
		for _, port = range i.Ports {
			return port, true
		}
	}
	return port, ok
}
