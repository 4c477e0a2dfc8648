//go:build unix

package host

import (
	"google.golang.org/grpc"

	"github.com/flamingock/flamingock-go/plugin/host/internal/relay"
)

// Denied tells whether a failure may be about something that confinement denied.
func Denied(message, targetCode string) bool { return denied(message, targetCode) }

// OpenInMemory serves what register registers in memory.
func OpenInMemory(o Options, register func(s grpc.ServiceRegistrar)) *Plugin {
	o.setDefaults()
	p := newPlugin(o)
	l := &linked{register: func(s grpc.ServiceRegistrar, _ *relay.Relay) error {
		register(s)
		return nil
	}}
	p.start = l.start
	return p
}
