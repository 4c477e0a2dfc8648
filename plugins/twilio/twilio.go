// Package twilio is the plugin for Twilio: an account as target system, and the
// template `twilio` with operations for its resources, which are named as people
// name them and not by their SIDs.
//
// The API has no transactions, and names are seldom unique. What a change made, and
// what was there before, is durable before anything is sent; package rest of the SDK
// says how.
package twilio

import (
	"github.com/flamingock/flamingock-go/plugin/sdk"
	"github.com/flamingock/flamingock-go/plugin/sdk/rest"
)

// Version is the plugin's version.
const Version = "0.1.0"

// New returns the plugin.
func New() *sdk.Plugin {
	return &sdk.Plugin{
		Name: "twilio", Version: Version, Summary: "Twilio",
		Needs: &sdk.Needs{Network: true},
		Drivers: []sdk.Driver{
			sdk.NewDriver(sdk.DriverSpec[Config, *Conn]{
				Type: "twilio", Summary: "a Twilio account", Open: open, Health: health,
			}),
		},
		Templates: []sdk.Template{template()},
		Environment: []string{
			"TWILIO_ACCOUNT_SID", "TWILIO_AUTH_TOKEN", "TWILIO_API_KEY", "TWILIO_API_SECRET", "TWILIO_REGION", "TWILIO_EDGE",
		},
	}
}

func template() sdk.Template {
	operations := rest.Operations[*Conn](resources()...)
	operations = append(operations, rest.Links[*Conn](links()...)...)
	operations = append(operations, publishStudioFlow(), purchasePhoneNumber(), releasePhoneNumber(), submitForApproval(), deployServerless(), raw())
	return sdk.NewOperationsTemplate(
		sdk.OperationsSpec{Name: "twilio", Summary: "changes what an account is made of", Drivers: []string{"twilio"}, SealCaptured: true},
		operations...,
	)
}
