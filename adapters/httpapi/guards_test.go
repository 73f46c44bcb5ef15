package httpapi_test

import (
	"fmt"
	"math/bits"
	"math/rand/v2"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/anishathalye/porcupine"
)

const guardedInstances, keptReady = 5, 2

// guardOp is what an operator did to an instance, and whether a policy refused it.
type guardOp struct {
	drain    bool
	instance uint
}

// guardModel is a service with a policy that keeps instances ready. Its state has a bit for each instance that is ready. A
// removal that is admitted counts as done before it is: another one may be refused for it that would pass if an undrain came
// between. So refusals are exact where nobody undrains.
func guardModel(exact bool) porcupine.Model {
	return porcupine.Model{
		Init: func() any { return uint(1<<guardedInstances - 1) },
		Step: func(state, input, output any) (bool, any) {
			ready, op, outcome := state.(uint), input.(guardOp), output.(string)
			bit := uint(1) << op.instance
			others := bits.OnesCount(ready &^ bit)
			switch {
			case outcome == "contended":
				return true, ready
			case !op.drain:
				return outcome == "ok", ready | bit
			case outcome == "guarded" && !exact:
				return true, ready
			case ready&bit != 0 && others < keptReady:
				return outcome == "guarded", ready
			}
			return outcome == "ok", ready &^ bit
		},
		DescribeOperation: func(input, output any) string { return fmt.Sprintf("%+v: %s", input, output) },
	}
}

// operators have clients send to a service with a policy at once, each n operations, and give what they were told.
func (s *server) operators(clients, n int, next func(client, i int) guardOp) (history []porcupine.Operation, refused int) {
	var mu sync.Mutex
	var group sync.WaitGroup
	began := time.Now()
	for client := range clients {
		group.Go(func() {
			for i := range n {
				op := next(client, i)
				to := "serving"
				if op.drain {
					to = "draining"
				}
				call := time.Since(began)
				r := s.send("PUT", fmt.Sprintf("/v1/services/checkout/instances/i-%d/traffic", op.instance), `{"traffic":"`+to+`"}`)
				returned := time.Since(began)
				outcome := fmt.Sprint(r.StatusCode)
				switch {
				case r.StatusCode == 200:
					outcome = "ok"
				case strings.Contains(string(r.body), "problem:guarded"):
					outcome = "guarded"
				case strings.Contains(string(r.body), "problem:contended"):
					outcome = "contended"
				}
				mu.Lock()
				if outcome == "guarded" {
					refused++
				}
				history = append(history, porcupine.Operation{ClientId: client, Input: op, Call: int64(call), Output: outcome, Return: int64(returned)})
				mu.Unlock()
			}
		})
	}
	group.Wait()
	return history, refused
}

// Operators remove and bring back instances at once over the embedded store. Each is told what it would be told if all came one
// after another.
func TestAPolicyIsLinearizableForOperatorsAtOnce(t *testing.T) {
	s := start(t)
	for i := range guardedInstances {
		s.send("PUT", fmt.Sprintf("/v1/services/checkout/instances/i-%d", i), `{"address":"10.0.0.5","ttl":"1h"}`).want(t, 201)
	}
	s.send("PUT", "/v1/policies/keep", fmt.Sprintf(`{"min_ready":"%d"}`, keptReady)).want(t, 200)
	check := func(exact bool, history []porcupine.Operation, refused int) {
		t.Helper()
		if result := porcupine.CheckOperationsTimeout(guardModel(exact), history, time.Minute); result != porcupine.Ok {
			t.Errorf("the history of %d operations is %s", len(history), result)
		}
		if refused == 0 {
			t.Error("nothing was refused")
		}
	}
	for range 10 {
		history, refused := s.operators(guardedInstances+2, 2, func(client, i int) guardOp {
			return guardOp{drain: true, instance: uint((client + 3*i) % guardedInstances)}
		})
		check(true, history, refused)
		for i := range guardedInstances {
			s.send("PUT", fmt.Sprintf("/v1/services/checkout/instances/i-%d/traffic", i), `{"traffic":"serving"}`).want(t, 200)
		}
	}
	random := rand.New(rand.NewPCG(28, 1))
	var mu sync.Mutex
	history, refused := s.operators(6, 40, func(int, int) guardOp {
		mu.Lock()
		defer mu.Unlock()
		return guardOp{drain: random.IntN(3) > 0, instance: uint(random.IntN(guardedInstances))}
	})
	check(false, history, refused)
}
