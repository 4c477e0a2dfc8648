package secret

import (
	"crypto/aes"
	"crypto/cipher"
	"crypto/rand"
	"crypto/sha256"
	"errors"
	"fmt"
)

// sealed1 starts every sealed text; the digit is the version of the form:
// prefix, 12 bytes of nonce, AES-256-GCM with the prefix as additional data.
var sealed1 = []byte("flsealed1:")

// Sealer encrypts captured state before it is stored. It is safe for concurrent
// use.
type Sealer struct{ aead cipher.AEAD }

// NewSealer returns a Sealer for a passphrase of at least 16 characters. The key
// is the passphrase's SHA-256, so give a random text, not a word.
func NewSealer(passphrase string) (*Sealer, error) {
	if len(passphrase) < 16 {
		return nil, errors.New("encryption key is shorter than 16 characters; " +
			"make one with `openssl rand -base64 32`")
	}
	key := sha256.Sum256([]byte(passphrase))
	block, err := aes.NewCipher(key[:])
	if err != nil {
		return nil, fmt.Errorf("make cipher: %w", err)
	}
	aead, err := cipher.NewGCM(block)
	if err != nil {
		return nil, fmt.Errorf("make cipher: %w", err)
	}
	return &Sealer{aead: aead}, nil
}

// Seal encrypts plain.
func (s *Sealer) Seal(plain []byte) []byte {
	nonce := make([]byte, s.aead.NonceSize())
	// rand.Read never returns an error; it ends the program where the system
	// has no randomness.
	_, _ = rand.Read(nonce)
	out := append([]byte{}, sealed1...)
	out = append(out, nonce...)
	return s.aead.Seal(out, nonce, plain, sealed1)
}

// IsSealed tells whether b was made by Seal.
func IsSealed(b []byte) bool {
	return len(b) > len(sealed1) && string(b[:len(sealed1)]) == string(sealed1)
}

// Open decrypts what Seal returned; text that is not sealed comes back as it is.
func (s *Sealer) Open(b []byte) ([]byte, error) {
	if !IsSealed(b) {
		return b, nil
	}
	if s == nil {
		return nil, errors.New("captured state is encrypted and no encryption key was given; set auditStore.encryptionKey")
	}
	rest := b[len(sealed1):]
	if len(rest) < s.aead.NonceSize() {
		return nil, errors.New("captured state is cut short")
	}
	plain, err := s.aead.Open(nil, rest[:s.aead.NonceSize()], rest[s.aead.NonceSize():], sealed1)
	if err != nil {
		return nil, errors.New("captured state cannot be decrypted: the encryption key differs from the one it was written with")
	}
	return plain, nil
}
