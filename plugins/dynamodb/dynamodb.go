// Package dynamodb is the plugin for Amazon DynamoDB: target system, audit store,
// and the template `dynamodb` with an operation for each thing that an
// application's owner does to its tables and items.
//
// Changes that only write items are one transaction, together with the marker that
// proves it and a check of the fencing token. All others are done step by step
// between durable checkpoints; each step can tell by looking whether it is in place.
package dynamodb

import (
	"github.com/flamingock/flamingock-go/plugin/sdk"
)

// Version is the plugin's version.
const Version = "0.1.0"

// New returns the plugin.
func New() *sdk.Plugin {
	return &sdk.Plugin{
		Name: "dynamodb", Version: Version, Summary: "Amazon DynamoDB",
		Drivers: []sdk.Driver{
			sdk.NewDriver(sdk.DriverSpec[Config, *Conn]{
				Type: "dynamodb", Summary: "the DynamoDB tables of an account and region",
				Open: open, Health: health, Transactor: transactor{},
			}),
		},
		Templates: []sdk.Template{template()},
		// What the AWS SDK finds credentials, region and endpoint by.
		Environment: []string{
			"AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_SESSION_TOKEN",
			"AWS_REGION", "AWS_DEFAULT_REGION", "AWS_PROFILE", "AWS_DEFAULT_PROFILE", "AWS_CONFIG_FILE", "AWS_SHARED_CREDENTIALS_FILE",
			"AWS_ROLE_ARN", "AWS_ROLE_SESSION_NAME", "AWS_WEB_IDENTITY_TOKEN_FILE",
			"AWS_CONTAINER_CREDENTIALS_FULL_URI", "AWS_CONTAINER_CREDENTIALS_RELATIVE_URI",
			"AWS_CONTAINER_AUTHORIZATION_TOKEN", "AWS_CONTAINER_AUTHORIZATION_TOKEN_FILE",
			"AWS_EC2_METADATA_DISABLED", "AWS_EC2_METADATA_SERVICE_ENDPOINT",
			"AWS_ENDPOINT_URL", "AWS_ENDPOINT_URL_DYNAMODB", "AWS_IGNORE_CONFIGURED_ENDPOINT_URLS",
			"AWS_CA_BUNDLE", "AWS_USE_FIPS_ENDPOINT", "AWS_USE_DUALSTACK_ENDPOINT", "AWS_MAX_ATTEMPTS", "AWS_RETRY_MODE",
		},
		Needs: &sdk.Needs{
			Network: true,
			Read:    []string{"~/.aws"},
			// Where the AWS SDK keeps tokens of single sign-on.
			Write: []string{"~/.aws/sso/cache", "~/.aws/cli/cache"},
		},
		Stores: []sdk.StoreDriver{
			sdk.NewStore(sdk.StoreSpec[StoreConfig]{Type: "dynamodb", Summary: "DynamoDB tables of an account and region", Open: openStore}),
		},
	}
}

func template() sdk.Template {
	return sdk.NewOperationsTemplate(
		sdk.OperationsSpec{
			Name: "dynamodb", Summary: "changes tables, indexes and items",
			Drivers: []string{"dynamodb"}, Parameters: true,
		},
		createTable(), deleteTable(), updateTable(),
		createGlobalSecondaryIndex(), deleteGlobalSecondaryIndex(), updateGlobalSecondaryIndex(),
		updateTimeToLive(), updateStream(), updatePointInTimeRecovery(), tagResource(), untagResource(),
		putResourcePolicy(), deleteResourcePolicy(), createBackup(), restoreTable(),
		putItems(), seedFromFile(), updateItems(), deleteItems(), transactWrite(), backfill(), executeStatement(),
		assertTable(), assertItem(),
	)
}
