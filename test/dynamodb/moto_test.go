package dynamodb

import (
	"errors"
	"slices"
	"strings"
	"testing"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/dynamodb"
	"github.com/aws/aws-sdk-go-v2/service/dynamodb/types"

	"github.com/flamingock/flamingock-go/plugins/dynamodb/dynamotest"
	"github.com/flamingock/flamingock-go/test/optest"
)

// onMoto prepares w for moto: a page of its list of tables ends it where another test
// has deleted the last table of the page before.
func (w *world) onMoto() {
	w.names, w.more = []string{"copy", "users"}, w.settings
}

// settings says of a table what only an imitation has.
func (w *world) settings(d *types.TableDescription, say func(what string, v any)) {
	w.t.Helper()
	ctx := w.t.Context()
	tags, err := w.client.ListTagsOfResource(ctx, &dynamodb.ListTagsOfResourceInput{ResourceArn: d.TableArn})
	if err != nil {
		w.t.Fatal(err)
	}
	last := map[string]string{} // moto lists a tag that was set twice twice
	for _, tag := range tags.Tags {
		last[aws.ToString(tag.Key)] = aws.ToString(tag.Value)
	}
	say("tags", last)
	recovery, err := w.client.DescribeContinuousBackups(ctx, &dynamodb.DescribeContinuousBackupsInput{TableName: d.TableName})
	if err != nil {
		w.t.Fatal(err)
	}
	say("recovery", recovery.ContinuousBackupsDescription.PointInTimeRecoveryDescription.PointInTimeRecoveryStatus)
	policy, err := w.client.GetResourcePolicy(ctx, &dynamodb.GetResourcePolicyInput{ResourceArn: d.TableArn})
	var none *types.PolicyNotFoundException
	switch {
	case err == nil:
		say("policy", policy.Policy)
	case !errors.As(err, &none):
		w.t.Fatal(err)
	}
	backups, err := w.client.ListBackups(ctx, &dynamodb.ListBackupsInput{TableName: d.TableName})
	if err != nil {
		w.t.Fatal(err)
	}
	var names []string
	for _, b := range backups.BackupSummaries {
		if name := aws.ToString(b.BackupName); !strings.HasPrefix(name, "flamingock-") { // deleteTable's own is kept
			names = append(names, name)
		}
	}
	slices.Sort(names)
	say("backups", names)
}

const (
	tags   = "{type: tagResource, table: users, tags: {team: orders, stage: test}}"
	read   = "policy: {Version: '2012-10-17', Statement: [{Effect: Allow, Principal: {AWS: '111122223333'}, Action: 'dynamodb:GetItem', Resource: '*'}]}"
	other  = "policy: {Version: '2012-10-17', Statement: [{Effect: Deny, Principal: '*', Action: 'dynamodb:*', Resource: '*'}]}"
	reader = "{type: putResourcePolicy, table: users, " + read + "}"
	saved  = "{type: createBackup, table: users, name: before}"
	kept   = "{type: updatePointInTimeRecovery, table: users}"
)

// ofMoto are operations that DynamoDB Local has not.
func ofMoto() []optest.Operation {
	full := []string{
		users, people, tags, kept, reader, "{type: updateTimeToLive, table: users, attribute: expires}",
		"{type: updateStream, table: users, viewType: KEYS_ONLY}",
	}
	return []optest.Operation{
		{Name: "createTable", Apply: "{type: createTable, table: users, keySchema: {partitionKey: pk}, attributes: {pk: S}, pitr: true, tags: {team: orders}}", Want: []string{`"team"`, "ENABLED"}},
		{Name: "updatePointInTimeRecovery", Setup: []string{users}, Apply: kept, Want: []string{`"ENABLED"`}},
		{Name: "updatePointInTimeRecovery, off", Setup: []string{users, kept}, Apply: "{type: updatePointInTimeRecovery, table: users, enabled: false}", Want: []string{`"DISABLED"`}},
		{Name: "tagResource", Setup: []string{users, tags}, Apply: "{type: tagResource, table: users, tags: {team: billing, new: tag}}", Want: []string{`"billing"`, `"new"`}},
		{Name: "untagResource", Setup: []string{users, tags}, Apply: "{type: untagResource, table: users, keys: [team, nothing]}", Gone: []string{`"team"`}},
		{Name: "putResourcePolicy", Setup: []string{users}, Apply: reader, Want: []string{"GetItem"}},
		{Name: "putResourcePolicy, another", Setup: []string{users, reader}, Apply: "{type: putResourcePolicy, table: users, " + other + "}", Want: []string{"Deny"}, Gone: []string{"GetItem"}},
		{Name: "deleteResourcePolicy", Setup: []string{users, reader}, Apply: "{type: deleteResourcePolicy, table: users}", Gone: []string{"GetItem"}},
		{Name: "createBackup", Setup: []string{users, people}, Apply: saved, Want: []string{`"before"`}},
		{Name: "createBackup, there", Setup: []string{users, people, saved}, Apply: saved, Nothing: true},
		{Name: "restoreTable", Setup: []string{users, people, saved}, Apply: "{type: restoreTable, table: copy, from: users, backup: before, allowDataLoss: true}", Want: []string{"in copy"}},
		{
			Name: "restoreTable, deleted", Setup: []string{users, people, saved, "{type: deleteTable, table: users, allowDestroy: true}"},
			Apply: "{type: restoreTable, table: users, from: users, backup: before, allowDataLoss: true}", Want: []string{"in users"},
		},
		{Name: "restoreTable by time", Setup: []string{users, people, kept}, Apply: "{type: restoreTable, table: copy, from: users, latest: true, allowDataLoss: true}", Want: []string{"in copy"}},
		{Name: "deleteTable with a backup", Setup: full, Apply: "{type: deleteTable, table: users, allowDestroy: true, backup: true}", Gone: []string{"users"}, Once: true},
	}
}

// TestOperationsOfMoto runs what DynamoDB Local has not on an imitation. It shows that
// the calls are right; how long the service takes, and what it refuses, it does not.
func TestOperationsOfMoto(t *testing.T) {
	t.Parallel()
	for _, o := range ofMoto() {
		t.Run(o.Name, func(t *testing.T) {
			t.Parallel()
			endpoint, prefix := dynamotest.Moto(t)
			w := newTables(t, endpoint, prefix)
			w.onMoto()
			w.world(endpoint).Check(o)
		})
	}
}
