//go:build laterrules

package raftstore

// later makes of this version of rollcall one that knows one more version of the rules, which changes nothing but its number. Only tests
// are built so: an upgrade of a cluster needs two versions of rollcall that know different rules.
const later = 1
