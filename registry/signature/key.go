package signature

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/sha256"
	"crypto/x509"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"encoding/pem"
	"errors"
	"fmt"
	"strings"

	"golang.org/x/crypto/nacl/secretbox"
	"golang.org/x/crypto/scrypt"
)

// PublicKey checks signatures. The zero value is no key.
type PublicKey struct {
	key *ecdsa.PublicKey
	der []byte // SubjectPublicKeyInfo
}

func publicKey(key *ecdsa.PublicKey) (PublicKey, error) {
	if key.Curve != elliptic.P256() {
		return PublicKey{}, errors.New("the key is not on the curve P-256")
	}
	der, err := x509.MarshalPKIXPublicKey(key)
	if err != nil {
		return PublicKey{}, fmt.Errorf("encode the public key: %w", err)
	}
	return PublicKey{key: key, der: der}, nil
}

// PublicKeyOf returns the public key that belongs to a private one.
func PublicKeyOf(key *ecdsa.PrivateKey) (PublicKey, error) { return publicKey(&key.PublicKey) }

// ParsePublicKey reads a key as `cosign generate-key-pair` writes it (PEM with
// SubjectPublicKeyInfo), or as String returns it (the base64 of that without PEM).
func ParsePublicKey(text string) (PublicKey, error) {
	der := []byte(nil)
	if block, _ := pem.Decode([]byte(text)); block != nil {
		if strings.Contains(block.Type, "PRIVATE") {
			return PublicKey{}, errors.New("it is a private key; a public one is needed, and the private one should not be here")
		}
		der = block.Bytes
	} else {
		raw, err := base64.StdEncoding.DecodeString(strings.TrimSpace(text))
		if err != nil {
			return PublicKey{}, errors.New("it is neither PEM nor base64")
		}
		der = raw
	}
	parsed, err := x509.ParsePKIXPublicKey(der)
	if err != nil {
		return PublicKey{}, fmt.Errorf("read the public key: %w", err)
	}
	key, ok := parsed.(*ecdsa.PublicKey)
	if !ok {
		return PublicKey{}, fmt.Errorf("the key is of type %T; one of ECDSA on P-256 is needed", parsed)
	}
	return publicKey(key)
}

// IsZero tells whether it is no key.
func (k PublicKey) IsZero() bool { return k.key == nil }

// Equal tells whether two keys are the same.
func (k PublicKey) Equal(other PublicKey) bool { return string(k.der) == string(other.der) }

// String is the key as one line of base64.
func (k PublicKey) String() string { return base64.StdEncoding.EncodeToString(k.der) }

// Fingerprint is the SHA-256 of the key, written sha256:….
func (k PublicKey) Fingerprint() string {
	sum := sha256.Sum256(k.der)
	return "sha256:" + hex.EncodeToString(sum[:])
}

// PEM is the key as a file.
func (k PublicKey) PEM() []byte {
	return pem.EncodeToMemory(&pem.Block{Type: "PUBLIC KEY", Bytes: k.der})
}

// hint is by what a bundle names the key.
func (k PublicKey) hint() string {
	sum := sha256.Sum256(k.der)
	return base64.StdEncoding.EncodeToString(sum[:])
}

// cosign's encrypted private key: a PEM block that holds JSON.
const (
	encryptedType    = "ENCRYPTED SIGSTORE PRIVATE KEY"
	encryptedTypeOld = "ENCRYPTED COSIGN PRIVATE KEY"
)

type encrypted struct {
	KDF struct {
		Name   string `json:"name"`
		Params struct {
			N int `json:"N"`
			R int `json:"r"`
			P int `json:"p"`
		} `json:"params"`
		Salt []byte `json:"salt"`
	} `json:"kdf"`
	Cipher struct {
		Name  string `json:"name"`
		Nonce []byte `json:"nonce"`
	} `json:"cipher"`
	Ciphertext []byte `json:"ciphertext"`
}

// The cost of a new key's password, as cosign has it, and the most that is spent on
// one that is read.
const (
	scryptN, scryptR, scryptP = 65536, 8, 1
	maxScryptMemory           = 1 << 30
)

// GenerateKey makes a new key.
func GenerateKey() (*ecdsa.PrivateKey, error) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return nil, fmt.Errorf("make a key: %w", err)
	}
	return key, nil
}

// EncryptKey returns a private key as a file, in the form of cosign, which only
// the password opens.
func EncryptKey(key *ecdsa.PrivateKey, password []byte) ([]byte, error) {
	if len(password) == 0 {
		return nil, errors.New("a private key needs a password that is not empty")
	}
	der, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		return nil, fmt.Errorf("encode the private key: %w", err)
	}
	var e encrypted
	e.KDF.Name, e.KDF.Params.N, e.KDF.Params.R, e.KDF.Params.P = "scrypt", scryptN, scryptR, scryptP
	e.Cipher.Name = "nacl/secretbox"
	e.KDF.Salt, e.Cipher.Nonce = make([]byte, 32), make([]byte, 24)
	_, _ = rand.Read(e.KDF.Salt) // never fails
	_, _ = rand.Read(e.Cipher.Nonce)
	box, err := boxKey(e, password)
	if err != nil {
		return nil, err
	}
	e.Ciphertext = secretbox.Seal(nil, der, (*[24]byte)(e.Cipher.Nonce), box)
	body, err := json.Marshal(e)
	if err != nil {
		return nil, fmt.Errorf("encode the private key: %w", err)
	}
	return pem.EncodeToMemory(&pem.Block{Type: encryptedType, Bytes: body}), nil
}

// ParsePrivateKey reads a private key: as cosign writes it, with its password, or
// in PEM as PKCS #8 or SEC 1, which have none.
func ParsePrivateKey(data, password []byte) (*ecdsa.PrivateKey, error) {
	block, _ := pem.Decode(data)
	if block == nil {
		return nil, errors.New("the private key is not in PEM")
	}
	der := block.Bytes
	switch block.Type {
	case encryptedType, encryptedTypeOld:
		var err error
		if der, err = decrypt(der, password); err != nil {
			return nil, err
		}
	case "EC PRIVATE KEY":
		key, err := x509.ParseECPrivateKey(der)
		if err != nil {
			return nil, errors.New("the private key cannot be read")
		}
		return key, nil
	case "PRIVATE KEY":
	default:
		return nil, fmt.Errorf("the file holds a %q and no private key", block.Type)
	}
	parsed, err := x509.ParsePKCS8PrivateKey(der)
	if err != nil {
		return nil, errors.New("the private key cannot be read")
	}
	key, ok := parsed.(*ecdsa.PrivateKey)
	if !ok || key.Curve != elliptic.P256() {
		return nil, errors.New("the private key is not one of ECDSA on P-256")
	}
	return key, nil
}

func decrypt(body, password []byte) ([]byte, error) {
	var e encrypted
	if err := json.Unmarshal(body, &e); err != nil {
		return nil, fmt.Errorf("read the encrypted private key: %w", err)
	}
	if e.KDF.Name != "scrypt" || e.Cipher.Name != "nacl/secretbox" || len(e.Cipher.Nonce) != 24 {
		return nil, fmt.Errorf("the private key is encrypted by %s and %s; scrypt and nacl/secretbox are supported", e.KDF.Name, e.Cipher.Name)
	}
	box, err := boxKey(e, password)
	if err != nil {
		return nil, err
	}
	der, ok := secretbox.Open(nil, e.Ciphertext, (*[24]byte)(e.Cipher.Nonce), box)
	if !ok {
		return nil, errors.New("the password of the private key is wrong")
	}
	return der, nil
}

func boxKey(e encrypted, password []byte) (*[32]byte, error) {
	p := e.KDF.Params
	if p.N < 2 || p.R < 1 || p.P < 1 || p.P > 16 || int64(p.N)*int64(p.R)*128 > maxScryptMemory {
		return nil, fmt.Errorf("the private key asks for scrypt with N=%d, r=%d, p=%d, which is not supported", p.N, p.R, p.P)
	}
	derived, err := scrypt.Key(password, e.KDF.Salt, p.N, p.R, p.P, 32)
	if err != nil {
		return nil, fmt.Errorf("derive a key from the password: %w", err)
	}
	return (*[32]byte)(derived), nil
}
