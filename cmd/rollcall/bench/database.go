package bench

import (
	"errors"
	"path/filepath"
)

// over measures what appends, again, on a server that keeps its events in a database.
func (b *bench) over(store string) error {
	s, err := startRegistry(b.ctx, filepath.Join(b.dir, "database"), "--store", store)
	if err != nil {
		return err
	}
	err = registerFleet(b.ctx, s.address)
	if err == nil {
		err = b.on(s, ", over the database", func(database *bench) error {
			database.noGoals = true
			return errors.Join(database.registrations(), database.singleHeartbeats(256), database.batches())
		})
	}
	return errors.Join(err, ignoreExit(s.stop()))
}
