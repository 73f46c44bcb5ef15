package client

import "context"

// Beat sends the heartbeats of all kept instances now, as the keeper does.
func (c *Client) Beat(ctx context.Context) bool {
	c.keeper.mu.Lock()
	var all []*Kept
	for _, k := range c.keeper.kept {
		all = append(all, k)
	}
	c.keeper.mu.Unlock()
	var r round
	r.beats = all
	c.keeper.send(ctx, r)
	c.keeper.mu.Lock()
	defer c.keeper.mu.Unlock()
	for _, k := range all {
		if k.state.Err != nil {
			return false
		}
	}
	return true
}
