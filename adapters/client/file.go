package client

import (
	"crypto/tls"
	"fmt"
	"io"
	"strings"

	"github.com/rollcall-registry/rollcall/adapters/client/internal/regular"
)

// maxFile is how long a file of a token, a certificate or a key may be, in bytes.
const maxFile = 16 << 20

// readFile reads a file that an option names. What is no file is refused, and so is a file that is too long. The program that uses the
// client may read the file again and again.
func readFile(path string) ([]byte, error) {
	f, err := regular.Open(path)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	b, err := io.ReadAll(io.LimitReader(f, maxFile+1))
	if err == nil && len(b) > maxFile {
		err = fmt.Errorf("%s must have at most %d bytes", path, maxFile)
	}
	return b, err
}

// keyPair reads a certificate and its key.
func keyPair(cert, key string) (pair tls.Certificate, err error) {
	certPEM, err := readFile(cert)
	if err != nil {
		return pair, err
	}
	keyPEM, err := readFile(key)
	if err != nil {
		return pair, err
	}
	if pair, err = tls.X509KeyPair(certPEM, keyPEM); err != nil {
		err = fmt.Errorf("%s and %s are no certificate in PEM and its private key: %s", cert, key, strings.TrimPrefix(err.Error(), "tls: "))
	}
	return pair, err
}
