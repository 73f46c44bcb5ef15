package pebblestore

// Flush makes the engine write tables now.
func (s *Store) Flush() { _ = s.db.Flush() } // tests look at what comes of it
