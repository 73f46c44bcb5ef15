package raftstore

import (
	"context"
	"encoding/binary"
	"net"
	"sync"
	"testing"
)

// Whoever writes to a connection, and however slowly the other end takes it: the frames arrive in their order, each once.
func TestFramesArriveInTheirOrderWhoeverWritesThem(t *testing.T) {
	for what, plain := range map[string]bool{"a plain connection": true, "another connection": false} {
		t.Run(what, func(t *testing.T) {
			listener, err := net.Listen("tcp", "127.0.0.1:0")
			if err != nil {
				t.Fatal(err)
			}
			defer listener.Close()
			c, err := net.Dial("tcp", listener.Addr().String())
			if err != nil {
				t.Fatal(err)
			}
			other, err := listener.Accept()
			if err != nil {
				t.Fatal(err)
			}
			defer other.Close()
			ctx, stop := context.WithCancel(context.Background())
			p := &peer{ctx: ctx, stop: stop, wake: make(chan struct{}, 1)}
			all := &peers{list: []*peer{p}}
			var direct *direct
			if plain {
				direct = directOf(c)
			}
			p.connect(direct, true, 1, "")
			var group sync.WaitGroup
			group.Go(func() { _ = p.write(c) })
			defer group.Wait()
			defer stop()
			const frames, size = 4000, 4 << 10 // more than a connection takes at once
			number := uint64(0)
			send := func() {
				p.mu.Lock()
				p.queue = endFrame(binary.BigEndian.AppendUint64(append(beginFrame(p.queue, frameForward), make([]byte, size)...), number), len(p.queue))
				number++
				p.mu.Unlock()
				all.pending.Store(true)
			}
			for range 2 {
				group.Go(func() {
					for ctx.Err() == nil {
						all.flush()
					}
				})
			}
			for range frames / 2 { // before the other end reads at all
				send()
				all.flush()
			}
			group.Go(func() {
				for range frames / 2 {
					send()
					all.flush()
				}
			})
			for n := range uint64(frames) {
				kind, b, err := readFrame(other)
				if err != nil || kind != frameForward || len(b) != size+8 {
					t.Fatalf("frame %d: %q, %d bytes, %v", n, kind, len(b), err)
				}
				if got := binary.BigEndian.Uint64(b[size:]); got != n {
					t.Fatalf("frame %d came in the place of %d", got, n)
				}
			}
		})
	}
}
