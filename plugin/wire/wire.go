// Package wire holds the facts on which a host and a plugin process must agree
// before they can speak the protocol: the handshake of hashicorp/go-plugin, the
// names of environment variables, and what is handed over through inherited
// file descriptors.
package wire

const (
	// CookieKey names the variable that tells a plugin that a host started it, and
	// not a person. It is no secret.
	CookieKey = "FLAMINGOCK_PLUGIN"
	// CookieValue is its value.
	CookieValue = "flamingock-plugin-v1"

	// ProtocolVersion is the version of the protocol in the words of go-plugin,
	// and the major version in Metadata.Protocols.
	ProtocolVersion = 1

	// ServiceName is the name under which go-plugin knows the gRPC services.
	ServiceName = "flamingock"

	// EnvTLSFD names the variable that holds the number of the file descriptor
	// from which the plugin reads one TLS document as JSON until end of file.
	EnvTLSFD = "FLAMINGOCK_TLS_FD"

	// EnvDeathFD names the variable that holds the number of a file descriptor
	// on which nothing is ever written: end of file means that the host is
	// gone, and the plugin ends its process at once.
	EnvDeathFD = "FLAMINGOCK_DEATH_FD"

	// EnvDevelop names the variable that says which plugins are being developed, for
	// the command flamingock: name=path, with commas between them. A path is that of
	// a program, or of the socket of one that runs already.
	EnvDevelop = "FLAMINGOCK_PLUGIN_DEV"

	// MaxMessage is the largest gRPC message, in bytes, in both directions.
	MaxMessage = 64 << 20

	// ServerName is the name in the plugin's certificate.
	ServerName = "localhost"
)

// TLS is what a plugin needs to prove itself to its host, and to let nobody else
// in. It is made for one launch and travels through a pipe, because arguments
// and environment can be read by other processes of the same user.
type TLS struct {
	// Cert and Key are the plugin's certificate and private key as PEM.
	Cert string `json:"cert"`
	Key  string `json:"key"`
	// ClientCA is the certificate, as PEM, of the authority that signed the
	// host's; a client without a certificate of its is refused.
	ClientCA string `json:"clientCA"`
}
