// Package simulation compares the registry's log with the truth. It has tests only.
//
// A seed drives a world for some simulated minutes: processes that register, renew (some by agents, in batches), fall
// silent, one by one or many at once, and are succeeded by other processes under the same key; late commands of
// predecessors; operators, who hold expiry, and revert what happened, too; clients that try one node after the other; nodes that
// crash, stand still and start again over one event store; a store that is unavailable, full or slow, or that
// loses its answers; wall clocks that step, of one node or of all; restores. The world knows what really happened. Afterwards every
// statement in the log, and every answer to a client, is compared with the truth (truth_test.go).
//
// Other worlds have a cluster of three nodes, each with a store of its own (group_test.go): nodes lose their power and what was not
// synced, are cut off in both directions or in one, links are slow and lossy. Afterwards the logs of all nodes are equal, too. The
// goroutines of a cluster are not driven by the seed alone, so a seed tells nearly the same story again.
//
// A seed that fails is printed, and replays:
//
//	ROLLCALL_SEED=42 go test -run TestTheLogTellsTheTruth ./commands/simulation
package simulation
