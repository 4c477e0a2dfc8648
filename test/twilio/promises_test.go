package twilio

import (
	"testing"

	"github.com/flamingock/flamingock-go/plugin/sdk/sdktest"
	"github.com/flamingock/flamingock-go/test/restfake"
	"github.com/flamingock/flamingock-go/test/twiliofake"
)

// TestPromises holds the plugin to the promises of every plugin, in memory and as a
// process.
func TestPromises(t *testing.T) {
	t.Parallel()
	t.Run("memory", func(t *testing.T) {
		t.Parallel()
		sdktest.Run(t, plugin(), promises()...)
	})
	t.Run("process", func(t *testing.T) {
		t.Parallel()
		sdktest.RunProcess(t, promises()...)
	})
}

func promises() []sdktest.Case {
	type fields = map[string]any
	target := func(t testing.TB) any {
		a := twiliofake.New(t)
		a.SlowOn("/2010-04-01/Accounts/"+twiliofake.AccountSID+"/Queues.json", restfake.Slow)
		return fields{"accountSid": twiliofake.AccountSID, "authToken": twiliofake.AuthToken, "endpoint": a.URL, "retryWait": "1ms"}
	}
	refused := func(t testing.TB) any {
		a := twiliofake.New(t)
		return fields{"accountSid": twiliofake.AccountSID, "authToken": "ffffffffffffffffffffffffffffffff", "endpoint": a.URL, "retryWait": "1ms"}
	}
	return []sdktest.Case{{
		Driver: "twilio", Target: target, Template: "twilio", Repeatable: true,
		Steps: []sdktest.Step{
			{Apply: fields{"type": "createMessagingService", "messagingService": "Orders", "set": fields{"sticky_sender": true}}},
			{Apply: fields{"type": "createTrunk", "trunk": "main", "set": fields{"secure": true}}},
			{Apply: fields{"type": "createTwimlApp", "twimlApp": "ivr"}},
		},
		Slow:    &sdktest.Step{Apply: fields{"type": "createQueue", "queue": "slow"}},
		Failing: &sdktest.Step{Apply: fields{"type": "patchQueue", "queue": "nobody", "set": fields{"max_size": 1}}},
		Secrets: []string{twiliofake.AuthToken, "ffffffffffffffffffffffffffffffff"}, Refused: refused,
	}}
}
