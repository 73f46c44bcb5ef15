package raftstore

import "time"

// gathering decides when the calls that wait become a block. A block costs nearly the same whether it has one call or a hundred, so with
// many callers fewer blocks do.
//
//   - The calls that come while a block is under way wait for its end. Where a block takes longer than gatherFor, because the nodes are
//     far from each other, further blocks are under way at the same time.
//   - When a block is answered, its callers may call again. The next block waits for them as long as they keep coming. Without that the
//     callers would come in two halves for ever, of which one waits while the block of the other is under way.
//
// What is counted are requests, for a call may have those of many callers, as the heartbeats of many connections do. Few of them do not wait
// for others, and a caller alone waits for nothing.
type gathering struct {
	most  int           // requests for which the next block waits; 0: it waits for none
	until time.Duration // how long it waits at most; a monotonic time
	gap   time.Duration // it waits no longer once no call came for this long
	came  time.Duration // when the newest call came
	late  *time.Timer   // has proposals look again
}

const (
	// While a block is under way, calls are gathered for the next one, until they have gatherBytes or gatherFor has passed.
	gatherBytes = 16 << 10
	gatherFor   = 20 * time.Millisecond
	// The next block waits for callers that were answered for twice as long as a block takes (ADR 125), and for returnFor at most.
	returnFor   = 5 * time.Millisecond
	fewRequests = 4
)

// await has the next block wait for the callers of a block that is answered, and that took a time. The calls, and their requests, are those of
// the block and those that wait.
func (g *gathering) await(calls, requests int, took, now time.Duration) {
	if calls < 2 || requests < fewRequests {
		return
	}
	wait := min(2*took, returnFor)
	g.most, g.until, g.gap, g.came = requests-requests/16, now+wait, wait/2, now
	g.late.Reset(g.gap)
}

// over says whether the wait is over, because of the time. Otherwise proposals look again later.
func (g *gathering) over(now time.Duration) bool {
	ends := min(g.until, g.came+g.gap)
	if g.most > 0 && now < ends {
		g.late.Reset(ends - now)
		return false
	}
	g.most = 0
	return true
}

// end ends a wait, because a block begins. A timer that nobody needs any more would still wake a thread.
func (g *gathering) end() {
	if g.most > 0 {
		g.most = 0
		g.late.Stop()
	}
}

// enough says whether so many requests, of so many bytes, are to go now that no block is under way.
func (g *gathering) enough(requests, bytes int) bool {
	return requests >= g.most || bytes >= gatherBytes
}
