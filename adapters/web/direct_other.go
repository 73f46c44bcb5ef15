//go:build !unix

package web

func (w *Chunks) beDirect() {}
