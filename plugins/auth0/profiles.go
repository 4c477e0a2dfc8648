package auth0

import "github.com/flamingock/flamingock-go/plugin/sdk/rest"

// profiles are the resources that the API calls profiles.
func profiles() []*rest.Resource {
	return []*rest.Resource{
		{
			Name: "selfServiceProfile", Summary: "a profile of self-service", Path: "self-service-profiles", Identity: named("selfServiceProfile"),
			IsID: id("ssp_[A-Za-z0-9]{22}"), ReadOnly: append([]string{"id"}, times...),
		},
		{
			Name: "tokenExchangeProfile", Summary: "a profile of token exchange", Path: "token-exchange-profiles", Identity: named("tokenExchangeProfile"),
			IsID: id("tep_[A-Za-z0-9]{16}"), Pages: checkpoint{}, ReadOnly: append([]string{"id"}, times...), CreateOnly: []string{"type", "action_id"},
		},
		{
			Name: "connectionProfile", Summary: "a profile of connections", Path: "connection-profiles", Identity: named("connectionProfile"),
			IsID: id("cop_[A-Za-z0-9]{22}"), Pages: checkpoint{most: 10}, ReadOnly: []string{"id"},
		},
		{
			Name: "userAttributeProfile", Summary: "a profile of users' attributes", Path: "user-attribute-profiles", Identity: named("userAttributeProfile"),
			IsID: id("uap_[A-Za-z0-9]{22}"), Pages: checkpoint{most: 10}, ReadOnly: []string{"id"},
		},
	}
}
