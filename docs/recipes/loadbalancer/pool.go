// Command loadbalancer keeps a pool of the instances that may get traffic:
//
//	go run ./docs/recipes/loadbalancer http://127.0.0.1:7700 checkout
//
// It prints the pool whenever it changes. When the registry is away, or the path to it is dead, it keeps
// the pool that it has, and goes on where it was once the registry is back.
package main

import (
	"context"
	"fmt"
	"log"
	"os"
	"slices"

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
		update.Apply(pool)
		show(pool)
	}
}

func show(pool map[domain.Key]wire.Instance) {
	var addresses []string
	for _, i := range pool {
		addresses = append(addresses, i.ID+" "+i.Address+",")
	}
	slices.Sort(addresses)
	fmt.Print("pool: ")
	for _, a := range addresses {
		fmt.Print(a)
	}
	fmt.Println()
}
