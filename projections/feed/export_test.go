package feed

// Heads is how many services the feed knows the newest change of.
func (f *Feed) Heads() int { return len(f.heads) }
