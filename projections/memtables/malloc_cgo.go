//go:build cgo && linux

package memtables

// #include <malloc.h>
//
// static void give_back_large_pieces(void) {
// #ifdef M_MMAP_THRESHOLD
// 	mallopt(M_MMAP_THRESHOLD, 512 << 10);
// #endif
// }
//
// static void give_back_free_pages(void) {
// #ifdef __GLIBC__
// 	malloc_trim(0);
// #endif
// }
import "C"

// With cgo the engine takes its memtables from the C library. The library by itself gives a large piece a mapping of its own, which
// goes back to the system when the piece is freed. But each piece that is freed makes it take pieces of that size from a pool
// afterwards: it fills a new memtable with zeros there, so that all of the memtable is resident at once, and keeps what is freed. A
// threshold that is set stays.
func init() { C.give_back_large_pieces() }

// giveBack has the C library give back the pages in its pools that have nothing. By itself it gives back those at the end of a pool only.
func giveBack() { C.give_back_free_pages() }
