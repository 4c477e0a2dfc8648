package dynamodb

import (
	"context"
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/dynamodb"
	"github.com/aws/aws-sdk-go-v2/service/dynamodb/types"

	"github.com/flamingock/flamingock-go/plugin/sdk"
)

// CreateBackup is the payload of createBackup.
type CreateBackup struct {
	Table   string       `json:"table"`
	Name    string       `json:"name" pattern:"^[a-zA-Z0-9_.-]{3,255}$"`
	Timeout sdk.Duration `json:"timeout,omitempty" default:"30m"`
}

// backups returns the on-demand backups of a table that have a name, the newest
// first.
func (c *Conn) backups(ctx context.Context, table *string, name string) ([]types.BackupSummary, error) {
	var out []types.BackupSummary
	in := &dynamodb.ListBackupsInput{TableName: table}
	for {
		r, err := c.client.ListBackups(ctx, in)
		if err != nil {
			return nil, failure("list the backups of table "+*table, err)
		}
		for _, b := range r.BackupSummaries {
			if aws.ToString(b.BackupName) == name && b.BackupStatus != types.BackupStatusDeleted {
				out = append(out, b)
			}
		}
		if in.ExclusiveStartBackupArn = r.LastEvaluatedBackupArn; in.ExclusiveStartBackupArn == nil {
			slices.SortStableFunc(out, func(a, b types.BackupSummary) int {
				return aws.ToTime(b.BackupCreationDateTime).Compare(aws.ToTime(a.BackupCreationDateTime))
			})
			return out, nil
		}
	}
}

// backup begins an on-demand backup and returns what it is called by. There must be
// none of its name: names need not be unique, so the SDK must not ask again by itself
// where an answer is lost, and what was made is found by its name.
func (c *Conn) backup(ctx context.Context, table *string, name string) (string, error) {
	what := "make a backup of table " + *table
	noRetry := func(o *dynamodb.Options) { o.RetryMaxAttempts = 1 }
	for begin, step := time.Now(), waitFirst; ; step = min(2*step, waitMost) {
		r, err := c.client.CreateBackup(ctx, &dynamodb.CreateBackupInput{TableName: table, BackupName: &name}, noRetry)
		if err == nil {
			return aws.ToString(r.BackupDetails.BackupArn), nil
		}
		err = cleanly(failure(what, err))
		if failureIsAnswer(err) || time.Since(begin) > conflictTime {
			return "", err
		}
		if perr := pause(ctx, step); perr != nil {
			return "", failure(what, perr)
		}
		made, lerr := c.backups(ctx, table, name)
		if lerr != nil {
			return "", err
		}
		if len(made) > 0 {
			return aws.ToString(made[0].BackupArn), nil
		}
	}
}

// backedUp waits until a backup is complete.
func (c *Conn) backedUp(ctx context.Context, arn string, timeout sdk.Duration) error {
	return await(ctx, "wait for the backup "+arn, timeout, func(ctx context.Context) (bool, error) {
		d, err := c.client.DescribeBackup(ctx, &dynamodb.DescribeBackupInput{BackupArn: &arn})
		if err != nil {
			return false, failure("look at the backup "+arn, err)
		}
		return d.BackupDescription.BackupDetails.BackupStatus == types.BackupStatusAvailable, nil
	})
}

func createBackup() sdk.Operation[*Conn] {
	type step = *sdk.Step[sdk.None, CreateBackup]
	of := func(ctx context.Context, c *Conn, s step) ([]types.BackupSummary, error) {
		return c.backups(ctx, c.table(s.Payload.Table), s.Payload.Name)
	}
	return sdk.NewOperation(sdk.OperationSpec[*Conn, CreateBackup]{
		Type: "createBackup", Summary: "makes an on-demand backup of a table; one of this name that is there counts", NotTransactional: schema,
		Preview: func(_ context.Context, c *Conn, s step) (sdk.Preview, error) {
			return sdk.Preview{Lines: []string{fmt.Sprintf("make backup %s of table %s", s.Payload.Name, *c.table(s.Payload.Table))}}, nil
		},
		Probe: func(ctx context.Context, c *Conn, s step) (sdk.Evidence, error) {
			list, err := of(ctx, c, s)
			switch {
			case err != nil:
				return sdk.Evidence{}, err
			case len(list) == 0:
				return sdk.Evidence{Kind: sdk.NotApplied, Detail: "there is no such backup"}, nil
			case list[0].BackupStatus != types.BackupStatusAvailable:
				return sdk.Evidence{Kind: sdk.Partly, Detail: "the backup is being made"}, nil
			}
			return sdk.Evidence{Kind: sdk.Applied, Detail: "the backup is there"}, nil
		},
		Capture: func(ctx context.Context, c *Conn, s step) ([]byte, error) {
			list, err := of(ctx, c, s)
			return both(existed{len(list) > 0}, err)
		},
		Apply: func(ctx context.Context, c *Conn, s step) error {
			list, err := of(ctx, c, s)
			if err != nil {
				return err
			}
			if len(list) > 0 {
				return c.backedUp(ctx, aws.ToString(list[0].BackupArn), s.Payload.Timeout)
			}
			arn, err := c.backup(ctx, c.table(s.Payload.Table), s.Payload.Name)
			if err != nil {
				return err
			}
			return c.backedUp(ctx, arn, s.Payload.Timeout)
		},
		Inverse: func(ctx context.Context, c *Conn, s step, state []byte) error {
			before, err := kept[existed](state)
			if err != nil || before.Existed {
				return err // it was not this change that made it
			}
			list, err := of(ctx, c, s)
			if err != nil {
				return err
			}
			for _, b := range list {
				arn := aws.ToString(b.BackupArn)
				if err := c.backedUp(ctx, arn, s.Payload.Timeout); err != nil {
					return err
				}
				if _, err := c.client.DeleteBackup(ctx, &dynamodb.DeleteBackupInput{BackupArn: &arn}); err != nil && !isCode(err, "BackupNotFoundException") {
					return failure("delete the backup "+arn, err)
				}
			}
			return nil
		},
	})
}

// RestoreTable is the payload of restoreTable.
type RestoreTable struct {
	Table         string       `json:"table" desc:"the new table"`
	From          string       `json:"from,omitempty" desc:"the table that the backup is of, or that is gone back in"`
	Backup        string       `json:"backup,omitempty" desc:"the name of an on-demand backup; the newest counts"`
	BackupARN     string       `json:"backupArn,omitempty"`
	At            string       `json:"at,omitempty" desc:"a time, such as 2026-01-31T12:00:00Z, by point-in-time recovery"`
	Latest        bool         `json:"latest,omitempty" desc:"the latest time of point-in-time recovery"`
	AllowDataLoss bool         `json:"allowDataLoss,omitempty" desc:"rollback: auto may delete the table with its items"`
	Timeout       sdk.Duration `json:"timeout,omitempty" default:"6h"`
}

// source returns the backup; "" for point-in-time recovery.
func (p *RestoreTable) source(ctx context.Context, c *Conn) (string, error) {
	if p.Backup == "" {
		return p.BackupARN, nil
	}
	list, err := c.backups(ctx, c.table(p.From), p.Backup)
	if err != nil {
		return "", err
	}
	for _, b := range list {
		if b.BackupStatus == types.BackupStatusAvailable {
			return aws.ToString(b.BackupArn), nil
		}
	}
	return "", &sdk.Error{
		Code: sdk.NotFound, Part: -1, Clean: true, Message: fmt.Sprintf("table %s has no complete backup %q", *c.table(p.From), p.Backup),
		Hint: "give the backup's name as createBackup had it, or its backupArn",
	}
}

func (p *RestoreTable) restore(ctx context.Context, c *Conn) error {
	table := c.table(p.Table)
	backup, err := p.source(ctx, c)
	if err != nil {
		return err
	}
	if backup != "" {
		return c.restoreBackup(ctx, backup, table)
	}
	in := &dynamodb.RestoreTableToPointInTimeInput{TargetTableName: table, SourceTableName: c.table(p.From)}
	if p.Latest {
		in.UseLatestRestorableTime = aws.Bool(true)
	} else {
		at, err := time.Parse(time.RFC3339, p.At)
		if err != nil {
			return sdk.Errorf(sdk.Invalid, "at: %q is no time such as 2026-01-31T12:00:00Z", p.At)
		}
		in.RestoreDateTime = &at
	}
	_, err = c.client.RestoreTableToPointInTime(ctx, in)
	return unless(fmt.Sprintf("restore table %s as %s", *c.table(p.From), *table), err, func() (bool, error) {
		return c.isRestored(ctx, table, "")
	})
}

func (c *Conn) restoreBackup(ctx context.Context, backup string, table *string) error {
	_, err := c.client.RestoreTableFromBackup(ctx, &dynamodb.RestoreTableFromBackupInput{BackupArn: &backup, TargetTableName: table})
	return unless("restore table "+*table+" from the backup "+backup, err, func() (bool, error) {
		return c.isRestored(ctx, table, backup)
	})
}

// isRestored tells whether a table was restored, or is being: from a backup, or ("") as
// another table was.
func (c *Conn) isRestored(ctx context.Context, table *string, backup string) (bool, error) {
	t, err := c.describe(ctx, table)
	return t != nil && t.RestoreSummary != nil && aws.ToString(t.RestoreSummary.SourceBackupArn) == backup, err
}

// restored waits until a table is complete that is being restored.
func (c *Conn) restored(ctx context.Context, table *string, timeout sdk.Duration) error {
	return await(ctx, "wait until table "+*table+" is restored", timeout, func(ctx context.Context) (bool, error) {
		t, err := c.describe(ctx, table)
		return t != nil && settled(t) && !restoring(t), err
	})
}

func restoring(t *types.TableDescription) bool {
	return t.RestoreSummary != nil && aws.ToBool(t.RestoreSummary.RestoreInProgress)
}

// restoreTime is how long restoring a table may take.
const restoreTime = 6 * 60 * 60 * 1_000_000_000

func restoreTable() sdk.Operation[*Conn] {
	type step = *sdk.Step[sdk.None, RestoreTable]
	return sdk.NewOperation(sdk.OperationSpec[*Conn, RestoreTable]{
		Type: "restoreTable", Summary: "makes a table from a backup, or as another one was at a time", NotTransactional: schema,
		Check: func(c *sdk.Check[sdk.None, RestoreTable]) {
			for _, s := range c.Steps {
				p, n := s.Apply, 0
				for _, given := range []bool{p.Backup != "", p.BackupARN != "", p.At != "", p.Latest} {
					if given {
						n++
					}
				}
				switch {
				case n != 1:
					c.Report(sdk.Diagnostic{
						Field: sdk.FieldApply, Step: s.Index, Code: "which-source", Summary: "exactly one of backup, backupArn, at and latest must be there",
					})
				case (p.From == "") != (p.BackupARN != ""):
					c.Report(sdk.Diagnostic{
						Field: sdk.FieldApply, Step: s.Index, Path: "/from", Code: "which-source", Summary: "from belongs to backup, at and latest, and not to backupArn",
					})
				}
			}
		},
		Preview: func(_ context.Context, c *Conn, s step) (sdk.Preview, error) {
			p := &s.Payload
			from := or(p.BackupARN, *c.table(p.From)+" "+or(p.Backup, or(p.At, "as it is")))
			return sdk.Preview{
				Lines: []string{fmt.Sprintf("restore table %s from %s", *c.table(p.Table), from)},
				Notes: []string{"the service does not restore time to live, stream, tags, policies, alarms, auto scaling and point-in-time recovery"},
			}, nil
		},
		Probe: func(ctx context.Context, c *Conn, s step) (sdk.Evidence, error) {
			t, err := c.describe(ctx, c.table(s.Payload.Table))
			switch {
			case err != nil:
				return sdk.Evidence{}, err
			case t == nil:
				return sdk.Evidence{Kind: sdk.NotApplied, Detail: "the table is not there"}, nil
			case t.RestoreSummary == nil:
				return sdk.Evidence{Detail: "the table is there, and was not restored"}, nil
			case restoring(t), !settled(t):
				return sdk.Evidence{Kind: sdk.Partly, Detail: "the table is being restored"}, nil
			}
			return sdk.Evidence{Kind: sdk.Applied, Detail: "the table is restored"}, nil
		},
		Capture: func(ctx context.Context, c *Conn, s step) ([]byte, error) {
			t, err := c.describe(ctx, c.table(s.Payload.Table))
			return both(existed{t != nil}, err)
		},
		Apply: func(ctx context.Context, c *Conn, s step) error {
			table := c.table(s.Payload.Table)
			t, err := c.describe(ctx, table)
			switch {
			case err != nil:
				return err
			case t == nil:
				if err := s.Payload.restore(ctx, c); err != nil {
					return err
				}
			case t.RestoreSummary == nil:
				return &sdk.Error{
					Code: sdk.Conflict, Part: -1, Clean: true, Message: fmt.Sprintf("table %s is there already, and was not restored", *table),
					Hint: "the service restores into new tables only: give it another name",
				}
			}
			return c.restored(ctx, table, orTime(s.Payload.Timeout, restoreTime))
		},
		Inverse: func(ctx context.Context, c *Conn, s step, state []byte) error {
			before, err := kept[existed](state)
			if err != nil || before.Existed {
				return err
			}
			return c.deleteNew(ctx, c.table(s.Payload.Table), s.Payload.AllowDataLoss, s.Payload.Timeout)
		},
	})
}

// beside is what a table has and a backup of it has not.
type beside struct {
	Settings tableSettings     `json:"settings"`
	TTL      ttl               `json:"ttl"`
	Stream   stream            `json:"stream"`
	Recovery recovery          `json:"recovery"`
	Tags     map[string]string `json:"tags"`
	Policy   policy            `json:"policy"`
}

func (c *Conn) beside(ctx context.Context, table *string) (b beside, err error) {
	t, err := c.describe(ctx, table)
	if err != nil || t == nil {
		return b, err
	}
	b.Settings = settingsOf(t)
	if b.TTL, err = c.ttl(ctx, table); err != nil {
		return b, err
	}
	if b.Stream, err = c.stream(ctx, table); err != nil {
		return b, err
	}
	if b.Recovery, err = c.recovery(ctx, table); err != nil {
		return b, err
	}
	if _, b.Tags, err = c.tags(ctx, table); err != nil {
		return b, err
	}
	b.Policy, err = c.policy(ctx, table)
	return b, err
}

// bringBack makes a table from a backup, with what is not in that. A restore that is
// under way is awaited.
func (c *Conn) bringBack(ctx context.Context, table *string, backup string, b beside, timeout sdk.Duration) error {
	t, err := c.describe(ctx, table)
	if err != nil {
		return err
	}
	if t != nil && t.TableStatus == types.TableStatusDeleting {
		if err := c.remove(ctx, table, timeout); err != nil {
			return err
		}
		t = nil
	}
	if t == nil {
		if err := c.restoreBackup(ctx, backup, table); err != nil {
			return err
		}
	}
	if err := c.restored(ctx, table, orTime(timeout, restoreTime)); err != nil {
		return err
	}
	if err := c.become(ctx, table, b.Settings, timeout); err != nil {
		return err
	}
	if b.TTL.Enabled {
		if err := c.setTTL(ctx, table, b.TTL.Attribute, true, timeout); err != nil {
			return err
		}
	}
	if err := c.setStream(ctx, table, b.Stream.View, timeout); err != nil {
		return err
	}
	if b.Recovery.Enabled {
		if err := c.setPITR(ctx, table, true, b.Recovery.Days, timeout); err != nil {
			return err
		}
	}
	if err := c.tag(ctx, table, slices.Sorted(maps.Keys(b.Tags)), b.Tags); err != nil {
		return err
	}
	return c.setPolicy(ctx, table, b.Policy.Document, false)
}

// backupMade is what deleteTable saves.
type backupMade struct {
	Backup string `json:"backup"`
}

// madeBefore returns the backup that a step has made; "" where it has made none.
func madeBefore(saved []byte) string {
	var b backupMade
	if json.Unmarshal(saved, &b) != nil {
		return "" // of another operation
	}
	return b.Backup
}
