// Package auth0 is the plugin for Auth0: a tenant as target system, and the template
// `auth0` with operations for the resources of its Management API, which are named
// as people name them and not by their ids.
//
// The API has no transactions. What a change made, and what was there before, is
// durable before anything is sent; package rest of the SDK says how.
package auth0

import (
	"github.com/flamingock/flamingock-go/plugin/sdk"
	"github.com/flamingock/flamingock-go/plugin/sdk/rest"
)

// Version is the plugin's version.
const Version = "0.1.0"

// New returns the plugin.
func New() *sdk.Plugin {
	return &sdk.Plugin{
		Name: "auth0", Version: Version, Summary: "Auth0",
		Needs: &sdk.Needs{Network: true},
		Drivers: []sdk.Driver{
			sdk.NewDriver(sdk.DriverSpec[Config, *Conn]{
				Type: "auth0", Summary: "an Auth0 tenant", Open: open, Health: health, Ready: ready,
			}),
		},
		Templates: []sdk.Template{template()},
		Environment: []string{
			"AUTH0_DOMAIN", "AUTH0_CLIENT_ID", "AUTH0_CLIENT_SECRET", "AUTH0_API_TOKEN", "AUTH0_ACCESS_TOKEN", "AUTH0_AUDIENCE",
			"AUTH0_CLIENT_ASSERTION_PRIVATE_KEY", "AUTH0_CLIENT_ASSERTION_SIGNING_ALG",
			"AUTH0_CLIENT_SIGNING_KEY_PATH", "AUTH0_CLIENT_SIGNING_ALGORITHM",
		},
	}
}

func template() sdk.Template {
	operations := rest.Operations[*Conn](resources()...)
	operations = append(operations, rest.Links[*Conn](links()...)...)
	operations = append(operations,
		deployAction(), bindAction(), unbindAction(), publishActionModule(), universalLogin(), guardianPolicies(),
		rotateClientSecret(), rotateSigningKey(), rotateConnectionKeys(), verifyCustomDomain(), importUsers(), raw(),
	)
	return sdk.NewOperationsTemplate(
		sdk.OperationsSpec{Name: "auth0", Summary: "changes what a tenant is made of", Drivers: []string{"auth0"}, SealCaptured: true},
		operations...,
	)
}
