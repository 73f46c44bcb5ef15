package client

import (
	"bytes"
	"context"
	"errors"
	"io"
	"iter"
	"net/http"
	"net/url"
	"strconv"

	"github.com/rollcall-registry/rollcall/queries/wire"
)

// Checkpoint is the signed head of the tamper-evident log, as a note.
func (c *Client) Checkpoint(ctx context.Context) ([]byte, error) {
	return c.signed(ctx, "/v1/checkpoint")
}

// signed asks for a text about the log's signature, which begins with the name of the log.
func (c *Client) signed(ctx context.Context, path string) ([]byte, error) {
	b, err := c.Call(ctx, http.MethodGet, path, nil, nil)
	if err == nil && !bytes.HasPrefix(b, []byte("rollcall/")) {
		return nil, &NotRollcall{URL: c.URL(), Answer: "with something else than what is signed of a log", Status: http.StatusOK}
	}
	return b, err
}

// CheckpointKey is the public key that verifies checkpoints.
func (c *Client) CheckpointKey(ctx context.Context) (string, error) {
	b, err := c.signed(ctx, "/v1/checkpoint/key")
	return string(b), err
}

// Leaves is a page of the leaves of the log, from the number from on. limit 0: as many leaves as the registry gives.
func (c *Client) Leaves(ctx context.Context, from int64, limit int) (Reply[wire.Leaves], error) {
	query := url.Values{"from": {strconv.FormatInt(from, 10)}}
	if limit > 0 {
		query.Set("limit", strconv.Itoa(limit))
	}
	return ask[wire.Leaves](ctx, c, get("/v1/checkpoint/leaves", query))
}

// AllLeaves yields the first leaves of the log, size of them. An error ends the sequence.
func (c *Client) AllLeaves(ctx context.Context, size int64) iter.Seq2[wire.Hash, error] {
	return func(yield func(wire.Hash, error) bool) {
		for from := int64(0); from < size; {
			page, err := c.Leaves(ctx, from, 0)
			if err == nil && len(page.Value.Hashes) == 0 {
				err = &Broken{URL: c.URL(), Err: errors.New("leaves of the log are missing")}
			}
			if err != nil {
				yield(wire.Hash{}, err)
				return
			}
			for _, h := range page.Value.Hashes {
				from++
				if from > size || !yield(h, nil) {
					return
				}
			}
		}
	}
}

// ProveInclusion proves that the event at a position is in the log of size events. size 0: the whole log.
func (c *Client) ProveInclusion(ctx context.Context, position wire.Position, size int64) (Reply[wire.InclusionProof], error) {
	query := url.Values{"position": {position.String()}}
	if size > 0 {
		query.Set("size", strconv.FormatInt(size, 10))
	}
	return ask[wire.InclusionProof](ctx, c, get("/v1/proofs/inclusion", query))
}

// ProveConsistency proves that the log of from events is the beginning of the log of to events. to 0: the whole log.
func (c *Client) ProveConsistency(ctx context.Context, from, to int64) (Reply[wire.ConsistencyProof], error) {
	query := url.Values{"from": {strconv.FormatInt(from, 10)}}
	if to > 0 {
		query.Set("to", strconv.FormatInt(to, 10))
	}
	return ask[wire.ConsistencyProof](ctx, c, get("/v1/proofs/consistency", query))
}

// Backup is a backup of the registry, as a tar archive. have is the list of files of an earlier backup, from the
// manifest of that backup; nil: no earlier backup. The registry must be on this machine.
func (c *Client) Backup(ctx context.Context, have any) (io.ReadCloser, error) {
	body, err := c.open(ctx, request{method: http.MethodPost, path: "/v1/backup", body: map[string]any{"have": have}})
	var silent *Unreachable
	if errors.As(err, &silent) {
		silent.Unknown = false // it is no command
	}
	if err != nil {
		return nil, err
	}
	return body, nil
}
