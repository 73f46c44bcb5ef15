package esdbstore

import (
	"context"
	"errors"
	"io"

	"github.com/EventStore/EventStore-Client-Go/v4/protos/gossip"
	"github.com/EventStore/EventStore-Client-Go/v4/protos/shared"
	"github.com/EventStore/EventStore-Client-Go/v4/protos/streams"
	"google.golang.org/grpc"
	"google.golang.org/grpc/metadata"
)

// link is a connection to one node of the database. The store has one at a time, to the leader.
//
// INVARIANT: refs counts the calls that use the link, guarded by Store.mu. A link that was replaced takes no
// further call, and its connection is closed when its last call has ended.
type link struct {
	address string
	conn    *grpc.ClientConn
	client  streams.StreamsClient
	batch   *batch

	refs     int
	replaced bool
	// serving ends when the link is replaced. Subscriptions and batches go on at the next link.
	serving context.Context
	stop    context.CancelFunc
	// works ends when the node is taken for dead, so that whoever waits for its answer waits no longer.
	works context.Context
	kill  context.CancelFunc
}

// dial makes a connection. It connects when it is first used.
func dial(address string, t *target) (*link, error) {
	conn, err := grpc.NewClient(address, t.dial...)
	if err != nil {
		return nil, err
	}
	l := &link{address: address, conn: conn, client: streams.NewStreamsClient(conn)}
	l.serving, l.stop = context.WithCancel(context.Background())
	l.works, l.kill = context.WithCancel(context.Background())
	return l, nil
}

// close frees what a link has. Calls under way end.
func (l *link) close() {
	l.stop()
	l.kill()
	_ = l.conn.Close() // it was closed already, at worst
}

// asLeader asks for an answer of the leader's: any other node says NotLeader at once, instead of answering
// from what it has or passing the call on.
func asLeader(ctx context.Context) context.Context {
	return metadata.AppendToOutgoingContext(ctx, "requires-leader", "true")
}

// probe finds out whether the node leads and answers: it asks for the newest event, as the leader.
func (l *link) probe(ctx context.Context) error {
	ctx, cancel := context.WithCancel(asLeader(ctx))
	defer cancel()
	r, err := l.client.Read(ctx, readAllRequest(nil, true, 1))
	if err != nil {
		return judge(err, nil)
	}
	if _, err = r.Recv(); err == nil || errors.Is(err, io.EOF) { // an empty database has no event
		return nil
	}
	return judge(err, r.Trailer())
}

// members asks the node for the addresses of the cluster's nodes.
func (l *link) members(ctx context.Context) (addresses []string, err error) {
	info, err := gossip.NewGossipClient(l.conn).Read(ctx, &shared.Empty{})
	if err != nil {
		return nil, err
	}
	for _, m := range info.GetMembers() {
		if e := m.GetHttpEndPoint(); e.GetAddress() != "" {
			addresses = append(addresses, joinPort(e.GetAddress(), e.GetPort()))
		}
	}
	return addresses, nil
}
