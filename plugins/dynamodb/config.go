package dynamodb

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/config"
	"github.com/aws/aws-sdk-go-v2/credentials"
	"github.com/aws/aws-sdk-go-v2/credentials/stscreds"
	"github.com/aws/aws-sdk-go-v2/service/dynamodb"
	"github.com/aws/aws-sdk-go-v2/service/sts"
	"github.com/aws/smithy-go"
	"github.com/aws/smithy-go/logging"

	"github.com/flamingock/flamingock-go/plugin/sdk"
)

// Config says which account, region and endpoint. What is left out is found as
// every program that uses AWS finds it: environment, shared configuration files,
// web identity, container and instance roles. A plugin's environment holds what the
// host allows, so a key is better given as a reference.
type Config struct {
	Region       string       `json:"region,omitempty" desc:"such as eu-central-1; otherwise as AWS_REGION or the profile says"`
	Profile      string       `json:"profile,omitempty" desc:"profile of the shared configuration files"`
	Endpoint     string       `json:"endpoint,omitempty" desc:"URL in place of the region's own, as AWS_ENDPOINT_URL_DYNAMODB"`
	AccessKeyID  string       `json:"accessKeyId,omitempty"`
	SecretKey    sdk.Secret   `json:"secretAccessKey,omitempty" sensitive:"true"`
	SessionToken sdk.Secret   `json:"sessionToken,omitempty" sensitive:"true"`
	AssumeRole   []AssumeRole `json:"assumeRole,omitempty" desc:"roles to take on, one after another"`
	WebIdentity  *WebIdentity `json:"webIdentity,omitempty"`

	UseFIPS           bool     `json:"useFips,omitempty"`
	UseDualstack      bool     `json:"useDualstack,omitempty"`
	MaxAttempts       int      `json:"maxAttempts,omitempty" minimum:"1" maximum:"50" desc:"how often a request is sent" default:"8"`
	RetryMode         string   `json:"retryMode,omitempty" enum:"standard,adaptive"`
	AllowedAccountIDs []string `json:"allowedAccountIds,omitempty" desc:"refuse any other account"`

	TablePrefix string `json:"tablePrefix,omitempty" desc:"goes before the names of all tables, such as one for each environment" pattern:"^[A-Za-z0-9_.-]*$"`
	MarkerTable string `json:"markerTable,omitempty" desc:"table of markers and fence" default:"flamingockMarker" pattern:"^[A-Za-z0-9_.-]{3,255}$"`
}

// AssumeRole is a role to take on.
type AssumeRole struct {
	RoleARN     string       `json:"roleArn"`
	ExternalID  string       `json:"externalId,omitempty"`
	SessionName string       `json:"sessionName,omitempty" default:"flamingock"`
	Duration    sdk.Duration `json:"duration,omitempty"`
}

// WebIdentity is a role that a token stands for.
type WebIdentity struct {
	RoleARN   string `json:"roleArn"`
	TokenFile string `json:"tokenFile"`
}

const defaultAttempts = 8

// client makes the client.
func (c *Config) client(ctx context.Context) (*dynamodb.Client, aws.Config, error) {
	attempts := c.MaxAttempts
	if attempts == 0 {
		attempts = defaultAttempts
	}
	load := []func(*config.LoadOptions) error{config.WithRetryMaxAttempts(attempts)}
	if c.Region != "" {
		load = append(load, config.WithRegion(c.Region))
	}
	if c.Profile != "" {
		load = append(load, config.WithSharedConfigProfile(c.Profile))
	}
	if c.RetryMode != "" {
		load = append(load, config.WithRetryMode(aws.RetryMode(c.RetryMode)))
	}
	if c.UseFIPS {
		load = append(load, config.WithUseFIPSEndpoint(aws.FIPSEndpointStateEnabled))
	}
	if c.UseDualstack {
		load = append(load, config.WithUseDualStackEndpoint(aws.DualStackEndpointStateEnabled))
	}
	if (c.AccessKeyID == "") != (c.SecretKey.Reveal() == "") {
		return nil, aws.Config{}, sdk.Errorf(sdk.Invalid, "accessKeyId and secretAccessKey belong together; give both, or none")
	}
	if c.AccessKeyID != "" {
		load = append(load, config.WithCredentialsProvider(
			credentials.NewStaticCredentialsProvider(c.AccessKeyID, c.SecretKey.Reveal(), c.SessionToken.Reveal())))
	}
	cfg, err := config.LoadDefaultConfig(ctx, load...)
	if err != nil {
		return nil, cfg, sdk.Errorf(sdk.Invalid, "the configuration of AWS cannot be read: %w", err)
	}
	if cfg.Region == "" {
		return nil, cfg, sdk.Errorf(sdk.Invalid, "no region is given: write `region:`, or name a profile that has one")
	}
	if w := c.WebIdentity; w != nil {
		cfg.Credentials = aws.NewCredentialsCache(stscreds.NewWebIdentityRoleProvider(sts.NewFromConfig(cfg), w.RoleARN, stscreds.IdentityTokenFile(w.TokenFile)))
	}
	for _, r := range c.AssumeRole {
		cfg.Credentials = aws.NewCredentialsCache(stscreds.NewAssumeRoleProvider(sts.NewFromConfig(cfg), r.RoleARN, func(o *stscreds.AssumeRoleOptions) {
			o.RoleSessionName = or(r.SessionName, "flamingock")
			if r.ExternalID != "" {
				o.ExternalID = aws.String(r.ExternalID)
			}
			if d := r.Duration.Std(); d > 0 {
				o.Duration = d
			}
		}))
	}
	return dynamodb.NewFromConfig(cfg, func(o *dynamodb.Options) {
		o.Logger = logging.Nop{} // it writes to standard error past the host
		if c.Endpoint != "" {
			o.BaseEndpoint = aws.String(c.Endpoint)
		}
	}), cfg, nil
}

// checkAccount refuses an account that is not allowed.
func (c *Config) checkAccount(ctx context.Context, cfg aws.Config) error {
	if len(c.AllowedAccountIDs) == 0 {
		return nil
	}
	who, err := sts.NewFromConfig(cfg).GetCallerIdentity(ctx, &sts.GetCallerIdentityInput{})
	if err != nil {
		return failure("find out the account", err)
	}
	for _, id := range c.AllowedAccountIDs {
		if id == aws.ToString(who.Account) {
			return nil
		}
	}
	return sdk.Errorf(sdk.Permission, "the credentials are those of account %s, and allowedAccountIds does not name it", aws.ToString(who.Account))
}

// Conn is an account's tables in a region, or one transaction on them: what
// operations work on.
type Conn struct {
	client *dynamodb.Client
	prefix string
	marker string
	place  string
	// tx gathers the writes of a transaction; nil outside of one.
	tx *gathered
	// ready tells for which token of a scope the fence is known to be there.
	ready map[string]int64
	keys  *keys
}

func open(ctx context.Context, cfg Config) (*Conn, error) {
	client, aws, err := cfg.client(ctx)
	if err != nil {
		return nil, err
	}
	if err := cfg.checkAccount(ctx, aws); err != nil {
		return nil, err
	}
	c := &Conn{
		client: client, prefix: cfg.TablePrefix, marker: cfg.TablePrefix + or(cfg.MarkerTable, "flamingockMarker"),
		place: "dynamodb in " + aws.Region, ready: map[string]int64{}, keys: &keys{known: map[string]Key{}},
	}
	if err := health(ctx, c); err != nil {
		return nil, err
	}
	return c, nil
}

func health(ctx context.Context, c *Conn) error {
	_, err := c.client.DescribeTable(ctx, &dynamodb.DescribeTableInput{TableName: &c.marker})
	if isCode(err, "ResourceNotFoundException") {
		return nil
	}
	return failure("reach "+c.place, err)
}

// table returns a table's name with the prefix.
func (c *Conn) table(name string) *string { return aws.String(c.prefix + name) }

func or(text, otherwise string) string {
	if text == "" {
		return otherwise
	}
	return text
}

// isCode tells whether the service said one of these codes.
func isCode(err error, codes ...string) bool {
	var e smithy.APIError
	if !errors.As(err, &e) {
		return false
	}
	for _, code := range codes {
		if e.ErrorCode() == code {
			return true
		}
	}
	return false
}

// failure turns an error of the SDK into one with the service's code.
func failure(what string, err error) error {
	if err == nil {
		return nil
	}
	var known *sdk.Error
	if errors.As(err, &known) {
		return err
	}
	e := &sdk.Error{Code: sdk.Transient, Part: -1, Message: what + ": " + err.Error(), Err: err}
	if errors.Is(err, context.Canceled) || errors.Is(err, context.DeadlineExceeded) {
		e.Code, e.Message = sdk.Cancelled, what+": cancelled"
		return e
	}
	var api smithy.APIError
	if !errors.As(err, &api) {
		e.Hint = "are region, endpoint and credentials right?"
		return e
	}
	e.Message, e.TargetCode = what+": "+api.ErrorMessage(), api.ErrorCode()
	switch api.ErrorCode() {
	case "ConditionalCheckFailedException", "ResourceInUseException", "TableAlreadyExistsException", "TransactionCanceledException",
		"DuplicateItemException", "IdempotentParameterMismatchException":
		e.Code = sdk.Conflict
	case "ResourceNotFoundException", "TableNotFoundException", "IndexNotFoundException", "BackupNotFoundException":
		e.Code = sdk.NotFound
	case "ValidationException", "SerializationException":
		e.Code = sdk.Invalid
	case "AccessDeniedException", "UnrecognizedClientException", "InvalidSignatureException", "ExpiredTokenException",
		"MissingAuthenticationTokenException", "InvalidClientTokenId":
		e.Code = sdk.Permission
		e.Hint = "the message says which action is missing; the plugin's documents list those that it needs"
	case "UnknownOperationException", "UnsupportedOperationException":
		e.Code = sdk.Unsupported
	case "LimitExceededException", "ProvisionedThroughputExceededException", "ThrottlingException", "RequestLimitExceeded",
		"TransactionConflictException", "TransactionInProgressException", "InternalServerError", "ServiceUnavailable":
		e.Code = sdk.Transient
	default:
		e.Code = sdk.Internal
	}
	return e
}

// cleanly marks an error of something that the service refused as a whole, so that
// nothing of it is in place.
func cleanly(err error) error {
	var e *sdk.Error
	var api smithy.APIError
	if errors.As(err, &e) && errors.As(err, &api) && api.ErrorFault() != smithy.FaultServer && e.Code != sdk.Cancelled {
		e.Clean = true
	}
	return err
}

// unless returns the error with which the service refused a change, unless inPlace
// finds what was asked for: where an answer is lost the SDK asks again, and is
// refused what the service has done. An error that is no answer it returns as it is.
func unless(what string, err error, inPlace func() (bool, error)) error {
	if err == nil {
		return nil
	}
	why := cleanly(failure(what, err))
	var answer smithy.APIError
	if !errors.As(err, &answer) {
		return why
	}
	if done, lookErr := inPlace(); lookErr != nil || !done {
		return why
	}
	return nil
}

// pause waits, or returns early with why ctx ended.
func pause(ctx context.Context, d time.Duration) error {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-ctx.Done():
		return context.Cause(ctx)
	case <-timer.C:
		return nil
	}
}

// await waits until done says so.
func await(ctx context.Context, what string, timeout sdk.Duration, done func(ctx context.Context) (bool, error)) error {
	limit := timeout.Std()
	if limit <= 0 {
		limit = defaultWait
	}
	for begin, step := time.Now(), waitFirst; ; step = min(step*3/2, waitMost) {
		ok, err := done(ctx)
		if err != nil || ok {
			return err
		}
		if time.Since(begin) > limit {
			return &sdk.Error{
				Code: sdk.Transient, Part: -1, Message: fmt.Sprintf("%s: it is not done after %s", what, limit),
				Hint: "the service goes on; run apply again later, or raise timeout",
			}
		}
		if err := pause(ctx, step); err != nil {
			return failure(what, err)
		}
	}
}

const (
	defaultWait = 30 * time.Minute
	waitFirst   = 50 * time.Millisecond
	waitMost    = 5 * time.Second
)
