// Package signature signs a digest and checks such a signature, with keys alone
// and the standard library's cryptography. What it writes `cosign verify --key`
// accepts, and what `cosign sign --key` writes it accepts.
//
// A signature is a Sigstore bundle (application/vnd.dev.sigstore.bundle.v0.3+json,
// github.com/sigstore/protobuf-specs) with a DSSE envelope (github.com/secure-systems-lab/dsse)
// around an in-toto statement (github.com/in-toto/attestation) whose subject is the
// digest. Keys are ECDSA on P-256, hashes SHA-256.
package signature

import (
	"bytes"
	"crypto/ecdsa"
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
)

const (
	// MediaType is that of a bundle.
	MediaType = "application/vnd.dev.sigstore.bundle.v0.3+json"
	// PredicateType is that of the statement in a bundle.
	PredicateType = "https://sigstore.dev/cosign/sign/v1"

	statementType = "https://in-toto.io/Statement/v1"
	payloadType   = "application/vnd.in-toto+json"
)

// ErrOtherKey is wrapped where a signature was made with another key.
var ErrOtherKey = errors.New("it was signed with another key")

// ErrInvalid is wrapped where a signature is none of the digest, whoever made it.
var ErrInvalid = errors.New("the signature is not valid")

type bundle struct {
	MediaType string   `json:"mediaType"`
	Material  material `json:"verificationMaterial"`
	Envelope  envelope `json:"dsseEnvelope"`
}

type material struct {
	PublicKey struct {
		Hint string `json:"hint"`
	} `json:"publicKey"`
}

type envelope struct {
	Payload     []byte              `json:"payload"`
	PayloadType string              `json:"payloadType"`
	Signatures  []envelopeSignature `json:"signatures"`
}

type envelopeSignature struct {
	Sig []byte `json:"sig"`
}

type statement struct {
	Type          string          `json:"_type"`
	Subject       []subject       `json:"subject"`
	PredicateType string          `json:"predicateType"`
	Predicate     json.RawMessage `json:"predicate"`
}

type subject struct {
	Digest map[string]string `json:"digest"`
}

// Sign returns a bundle that signs a digest, which is written sha256:….
func Sign(key *ecdsa.PrivateKey, digest string) ([]byte, error) {
	sum, err := hexOf(digest)
	if err != nil {
		return nil, err
	}
	public, err := publicKey(&key.PublicKey)
	if err != nil {
		return nil, err
	}
	payload, err := json.Marshal(statement{
		Type: statementType, Subject: []subject{{Digest: map[string]string{"sha256": sum}}},
		PredicateType: PredicateType, Predicate: json.RawMessage(`{}`),
	})
	if err != nil {
		return nil, fmt.Errorf("sign %s: %w", digest, err)
	}
	hash := sha256.Sum256(authenticated(payloadType, payload))
	sig, err := ecdsa.SignASN1(rand.Reader, key, hash[:])
	if err != nil {
		return nil, fmt.Errorf("sign %s: %w", digest, err)
	}
	b := bundle{
		MediaType: MediaType,
		Envelope:  envelope{Payload: payload, PayloadType: payloadType, Signatures: []envelopeSignature{{Sig: sig}}},
	}
	b.Material.PublicKey.Hint = public.hint()
	return json.Marshal(b)
}

// Verify checks that data is a bundle by which one of the keys signed the digest,
// and returns that key. Its error wraps ErrOtherKey where the bundle names a key
// that is none of these, and ErrInvalid where it is no signature of the digest.
func Verify(data []byte, digest string, keys ...PublicKey) (PublicKey, error) {
	sum, err := hexOf(digest)
	if err != nil {
		return PublicKey{}, err
	}
	var b bundle
	if err := json.Unmarshal(data, &b); err != nil {
		return PublicKey{}, fmt.Errorf("%w: it cannot be read: %w", ErrInvalid, err)
	}
	switch {
	case !strings.HasPrefix(b.MediaType, "application/vnd.dev.sigstore.bundle"):
		return PublicKey{}, fmt.Errorf("%w: its media type is %q", ErrInvalid, b.MediaType)
	case b.Envelope.PayloadType != payloadType || len(b.Envelope.Signatures) == 0:
		return PublicKey{}, fmt.Errorf("%w: it holds no signed statement", ErrInvalid)
	}
	hash := sha256.Sum256(authenticated(b.Envelope.PayloadType, b.Envelope.Payload))
	key, ok := signer(b, hash[:], keys)
	if !ok {
		if hint := b.Material.PublicKey.Hint; hint != "" && !hinted(hint, keys) {
			return PublicKey{}, fmt.Errorf("%w, whose fingerprint is %s", ErrOtherKey, fingerprintOfHint(hint))
		}
		return PublicKey{}, fmt.Errorf("%w: it does not fit what it signs", ErrInvalid)
	}
	var s statement
	if err := json.Unmarshal(b.Envelope.Payload, &s); err != nil {
		return PublicKey{}, fmt.Errorf("%w: its statement cannot be read: %w", ErrInvalid, err)
	}
	if s.Type != statementType || s.PredicateType != PredicateType {
		return PublicKey{}, fmt.Errorf("%w: its statement is of type %q, %q", ErrInvalid, s.Type, s.PredicateType)
	}
	for _, x := range s.Subject {
		if x.Digest["sha256"] == sum {
			return key, nil
		}
	}
	return PublicKey{}, fmt.Errorf("%w: it is of something else, not of %s", ErrInvalid, digest)
}

// signer returns the key that made one of the signatures.
func signer(b bundle, hash []byte, keys []PublicKey) (PublicKey, bool) {
	for _, key := range keys {
		for _, s := range b.Envelope.Signatures {
			if key.key != nil && ecdsa.VerifyASN1(key.key, hash, s.Sig) {
				return key, true
			}
		}
	}
	return PublicKey{}, false
}

func hinted(hint string, keys []PublicKey) bool {
	for _, k := range keys {
		if k.hint() == hint {
			return true
		}
	}
	return false
}

// fingerprintOfHint makes of a hint what Fingerprint would say.
func fingerprintOfHint(hint string) string {
	sum, err := base64.StdEncoding.DecodeString(hint)
	if err != nil || len(sum) != sha256.Size {
		return "unknown"
	}
	return "sha256:" + hex.EncodeToString(sum)
}

// authenticated is DSSE's pre-authentication encoding.
func authenticated(kind string, payload []byte) []byte {
	var b bytes.Buffer
	fmt.Fprintf(&b, "DSSEv1 %d %s %d ", len(kind), kind, len(payload))
	b.Write(payload)
	return b.Bytes()
}

func hexOf(digest string) (string, error) {
	sum, ok := strings.CutPrefix(digest, "sha256:")
	if raw, err := hex.DecodeString(sum); !ok || err != nil || len(raw) != sha256.Size {
		return "", fmt.Errorf("%q is no digest by SHA-256", digest)
	}
	return sum, nil
}
