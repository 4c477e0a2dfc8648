package java

import (
	"slices"
	"strings"
	"testing"

	"github.com/flamingock/flamingock-go/test/e2etest"
)

// ddl are the statements with which the Java implementation makes its tables.
func ddl(typ, audit, lock string) []string {
	texts := map[string][]string{
		"postgresql": {
			`CREATE TABLE IF NOT EXISTS AUDIT (id SERIAL PRIMARY KEY,execution_id VARCHAR(255),stage_id VARCHAR(255),change_id VARCHAR(255),author VARCHAR(255),created_at TIMESTAMP,state VARCHAR(32),invoked_class VARCHAR(255),invoked_method VARCHAR(255),source_file VARCHAR(255),metadata TEXT,execution_millis BIGINT,execution_hostname VARCHAR(255),error_trace TEXT,type VARCHAR(32),tx_strategy VARCHAR(32),target_system_id VARCHAR(255),change_order VARCHAR(255),recovery_strategy VARCHAR(32),transaction_flag BOOLEAN,system_change BOOLEAN)`,
			`CREATE TABLE IF NOT EXISTS LOCKS ("key" VARCHAR(255) PRIMARY KEY, status VARCHAR(32), owner VARCHAR(255), expires_at TIMESTAMP)`,
		},
		"mysql": {
			"CREATE TABLE IF NOT EXISTS AUDIT (id BIGINT AUTO_INCREMENT PRIMARY KEY, execution_id VARCHAR(255), stage_id VARCHAR(255), change_id VARCHAR(255), author VARCHAR(255), created_at TIMESTAMP DEFAULT CURRENT_TIMESTAMP, state VARCHAR(255), invoked_class VARCHAR(255), invoked_method VARCHAR(255), source_file VARCHAR(255), metadata LONGTEXT, execution_millis BIGINT, execution_hostname VARCHAR(255), error_trace LONGTEXT, type VARCHAR(50), tx_strategy VARCHAR(50), target_system_id VARCHAR(255), change_order VARCHAR(50), recovery_strategy VARCHAR(50), transaction_flag TINYINT(1), system_change TINYINT(1))",
			"CREATE TABLE IF NOT EXISTS LOCKS (`key` VARCHAR(255) PRIMARY KEY, status VARCHAR(32), owner VARCHAR(255), expires_at TIMESTAMP)",
		},
		"sqlite": {
			"CREATE TABLE IF NOT EXISTS AUDIT (id INTEGER PRIMARY KEY, execution_id TEXT, stage_id TEXT, change_id TEXT, author TEXT, created_at DATETIME, state TEXT, invoked_class TEXT, invoked_method TEXT, source_file TEXT, metadata TEXT, execution_millis BIGINT, execution_hostname TEXT, error_trace TEXT, type TEXT, tx_strategy TEXT, target_system_id TEXT, change_order TEXT, recovery_strategy TEXT, transaction_flag INTEGER, system_change INTEGER)",
			"CREATE TABLE IF NOT EXISTS LOCKS (`key` VARCHAR(255) PRIMARY KEY, status VARCHAR(32), owner VARCHAR(255), expires_at TIMESTAMP)",
		},
	}
	out := slices.Clone(texts[typ])
	for i := range out {
		out[i] = strings.NewReplacer("AUDIT", audit, "LOCKS", lock).Replace(out[i])
	}
	return out
}

// columns describes the columns of a table, in order.
func (d *database) columns(table string) []string {
	d.t.Helper()
	switch d.typ {
	case "sqlite":
		return d.rows(`SELECT name, type, "notnull", dflt_value, pk FROM pragma_table_info('` + table + `') ORDER BY cid`)
	case "mysql":
		return d.rows("SELECT column_name, column_type, is_nullable, column_default, IF(column_key = 'PRI', 'PRI', ''), extra FROM information_schema.columns " +
			"WHERE table_schema = database() AND table_name = '" + table + "' ORDER BY ordinal_position")
	}
	// A serial's default names its table.
	return d.rows("SELECT column_name, data_type, character_maximum_length, is_nullable, regexp_replace(column_default, '''.*''', '') FROM information_schema.columns " +
		"WHERE table_schema = current_schema() AND table_name = lower('" + table + "') ORDER BY ordinal_position")
}

// unique counts the unique indexes of the audit table.
func (d *database) unique() string {
	d.t.Helper()
	q := map[string]string{
		"sqlite":     `SELECT count(*) FROM pragma_index_list('flamingockAuditLog') WHERE "unique" = 1`,
		"mysql":      "SELECT count(DISTINCT index_name) FROM information_schema.statistics WHERE table_schema = database() AND table_name = 'flamingockAuditLog' AND non_unique = 0 AND index_name <> 'PRIMARY'",
		"postgresql": "SELECT count(*) FROM pg_index WHERE indrelid = 'flamingockauditlog'::regclass AND indisunique AND NOT indisprimary",
	}
	return strings.Join(d.rows(q[d.typ]), "")
}

// TestTheTablesAreTheirs compares the tables made here with those that Java's own
// statements make.
func TestTheTablesAreTheirs(t *testing.T) {
	t.Parallel()
	for name, open := range databases() {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			d := open(t)
			for _, q := range ddl(d.typ, "javaAudit", "javaLock") {
				d.exec(q)
			}
			p := e2etest.New(t, d.config)
			p.Write("changes/_0001__one.yaml", "id: one\ntargetSystem: sql\ntemplate: sql\napply: CREATE TABLE one (id INTEGER)\n")
			p.Must(0, "apply")
			ours, theirs := d.columns("flamingockAuditLog"), d.columns("javaAudit")
			if len(theirs) != 21 || len(ours) < len(theirs) || !slices.Equal(ours[:len(theirs)], theirs) {
				t.Errorf("the audit table is\n  %s\nand Java's is\n  %s", strings.Join(ours, "\n  "), strings.Join(theirs, "\n  "))
			}
			for _, extra := range ours[min(len(ours), len(theirs)):] {
				// Java inserts rows without them.
				if name, rest, _ := strings.Cut(extra, "|"); strings.Contains(rest, "NO|") || d.typ == "sqlite" && strings.Contains(rest, "|1|") {
					t.Errorf("the column %s cannot be left out: %s", name, rest)
				}
			}
			if ours, theirs := d.columns("flamingockLock"), d.columns("javaLock"); !slices.Equal(ours, theirs) {
				t.Errorf("the lock table is\n  %s\nand Java's is\n  %s", strings.Join(ours, "\n  "), strings.Join(theirs, "\n  "))
			}
			if got := d.unique(); got != "0" {
				t.Errorf("the audit table has %s unique indexes beside its key", got)
			}
		})
	}
}

// TestTheirTablesAreUsed opens a store that Java made: it is extended, and Java's
// rows stay what they are.
func TestTheirTablesAreUsed(t *testing.T) {
	t.Parallel()
	for name, open := range databases() {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			d := open(t)
			for _, q := range ddl(d.typ, "flamingockAuditLog", "flamingockLock") {
				d.exec(q)
			}
			d.java(row{change: "theirs", state: "STARTED"})
			d.java(row{change: "theirs", state: "APPLIED"})
			const q = "SELECT id, execution_id, change_id, created_at, state, metadata FROM flamingockAuditLog WHERE change_id = 'theirs' ORDER BY id"
			before := d.rows(q)
			p := e2etest.New(t, d.config)
			p.Write("changes/_0001__theirs.yaml", "id: theirs\ntargetSystem: sql\ntemplate: sql\napply: CREATE TABLE theirs (id INTEGER)\n")
			p.Write("changes/_0002__ours.yaml", "id: ours\ntargetSystem: sql\ntemplate: sql\napply: CREATE TABLE ours (id INTEGER)\n")
			p.Must(0, "apply")
			if after := d.rows(q); !slices.Equal(before, after) {
				t.Errorf("Java's rows were %v and are %v", before, after)
			}
			if got := d.rows("SELECT change_id, state FROM flamingockAuditLog WHERE change_id <> 'theirs' ORDER BY id"); !slices.Equal(got, []string{"ours|STARTED", "ours|APPLIED"}) {
				t.Errorf("the entries written here are %v", got)
			}
			// And Java can go on inserting, with its own statement.
			d.java(row{change: "later", state: "STARTED"})
			if r := p.Must(0, "audit", "list", "--history"); !strings.Contains(r.Stdout, "later") || !strings.Contains(r.Stdout, "theirs") {
				t.Errorf("not every row is read:\n%s", r)
			}
		})
	}
}
