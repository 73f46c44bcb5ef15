//go:build !linux

package bench

import (
	"net"
	"time"
)

// subscribe makes connections that subscribe to the service, each with a goroutine that reads it.
func (w *watched) subscribe(address string, subscribers int) error {
	for range subscribers {
		c, err := net.Dial("tcp", address)
		if err != nil {
			return err
		}
		w.conns = append(w.conns, c)
		if _, err := c.Write(rawRequest("GET", "/v1/streams/services/"+w.service, "")); err != nil {
			return err
		}
		go w.read(c)
	}
	return nil
}

func (w *watched) read(c net.Conn) {
	var of lines
	for buffer := make([]byte, 4<<10); ; {
		n, err := c.Read(buffer)
		if err != nil {
			w.fail(err)
			return
		}
		w.hear(time.Now(), of.events(buffer[:n]))
	}
}
