package mongodb

import (
	"context"
	"fmt"

	"go.mongodb.org/mongo-driver/v2/bson"
	"go.mongodb.org/mongo-driver/v2/mongo"

	"github.com/flamingock/flamingock-go/plugin/sdk"
)

// User is the payload of createUser and updateUser.
type User struct {
	User       string     `json:"user"`
	DB         string     `json:"db,omitempty" desc:"database of the user; by default the target's"`
	Password   sdk.Secret `json:"password,omitempty" sensitive:"true"`
	Roles      []any      `json:"roles,omitempty" desc:"names, or {role: …, db: …}"`
	CustomData *Document  `json:"customData,omitempty"`
	Mechanisms []string   `json:"mechanisms,omitempty" enum:"SCRAM-SHA-1,SCRAM-SHA-256"`
}

// Role is the payload of createRole and updateRole.
type Role struct {
	Role       string     `json:"role"`
	DB         string     `json:"db,omitempty" desc:"database of the role; by default the target's"`
	Privileges []Document `json:"privileges,omitempty" desc:"{resource: {db: …, collection: …}, actions: […]}"`
	Roles      []any      `json:"roles,omitempty" desc:"names, or {role: …, db: …}"`
}

// DropUser is the payload of dropUser.
type DropUser struct {
	User string `json:"user"`
	DB   string `json:"db,omitempty" desc:"database of the user; by default the target's"`
}

// DropRole is the payload of dropRole.
type DropRole struct {
	Role string `json:"role"`
	DB   string `json:"db,omitempty" desc:"database of the role; by default the target's"`
}

// Grant is the payload of grantRoles and revokeRoles.
type Grant struct {
	User  string `json:"user"`
	DB    string `json:"db,omitempty" desc:"database of the user; by default the target's"`
	Roles []any  `json:"roles" desc:"names, or {role: …, db: …}"`
}

// account is why operations on users and roles are no part of a transaction.
const account = "users and roles are changed outside transactions"

func (c *Conn) database(name string) *mongo.Database {
	if name == "" {
		return c.db
	}
	return c.client.Database(name)
}

// rolesOf returns roles as the server takes them: with their database.
func rolesOf(list []any, db string) bson.A {
	out := bson.A{}
	for _, v := range list {
		switch v := v.(type) {
		case string:
			out = append(out, bson.D{{Key: "role", Value: v}, {Key: "db", Value: db}})
		case sdk.Object:
			role, _ := v.Get("role")
			in, ok := v.Get("db")
			if !ok {
				in = db
			}
			out = append(out, bson.D{{Key: "role", Value: role}, {Key: "db", Value: in}})
		}
	}
	return out
}

func checkRoles[P any](c *sdk.Check[sdk.None, P], of func(P) []any) {
	for _, s := range c.Steps {
		for i, v := range of(s.Apply) {
			o, isObject := v.(sdk.Object)
			_, isText := v.(string)
			if isObject {
				_, isObject = o.Get("role")
			}
			if !isObject && !isText {
				c.Report(sdk.Diagnostic{
					Field: sdk.FieldApply, Step: s.Index, Path: fmt.Sprintf("/roles/%d", i), Code: "bad-role",
					Summary: "a role is a name, or a mapping with role and db",
				})
			}
		}
	}
}

// userInfo is a user as the server describes it, without what it knows of the
// password.
type userInfo struct {
	Roles      bson.A `bson:"roles"`
	CustomData bson.D `bson:"customData,omitempty"`
	Mechanisms bson.A `bson:"mechanisms,omitempty"`
}

// user returns a user; nil where it is not there.
func (c *Conn) user(ctx context.Context, name, db string) (*userInfo, error) {
	var r struct {
		Users []userInfo `bson:"users"`
	}
	if err := c.database(db).RunCommand(ctx, bson.D{{Key: "usersInfo", Value: name}}).Decode(&r); err != nil {
		return nil, failure("look for user "+name, err)
	}
	if len(r.Users) == 0 {
		return nil, nil
	}
	return &r.Users[0], nil
}

// roleInfo is a role as the server describes it.
type roleInfo struct {
	Privileges bson.A `bson:"privileges"`
	Roles      bson.A `bson:"roles"`
}

// role returns a role; nil where it is not there.
func (c *Conn) role(ctx context.Context, name, db string) (*roleInfo, error) {
	var r struct {
		Roles []roleInfo `bson:"roles"`
	}
	err := c.database(db).RunCommand(ctx, bson.D{{Key: "rolesInfo", Value: name}, {Key: "showPrivileges", Value: true}}).Decode(&r)
	if err != nil {
		return nil, failure("look for role "+name, err)
	}
	if len(r.Roles) == 0 {
		return nil, nil
	}
	return &r.Roles[0], nil
}

// sameSet tells whether two lists of roles or privileges hold the same.
func sameSet(a, b bson.A) bool { return len(a) == len(b) && holds(a, b) }

// holds tells whether everything in some is in all.
func holds(all, some bson.A) bool {
	for _, x := range some {
		found := false
		for _, y := range all {
			found = found || same(x, y)
		}
		if !found {
			return false
		}
	}
	return true
}

// command returns the parts of createUser and updateUser that p asks for.
func (p *User) command(verb, db string) bson.D {
	d := bson.D{{Key: verb, Value: p.User}}
	if password := p.Password.Reveal(); password != "" {
		d = append(d, bson.E{Key: "pwd", Value: password})
	}
	if p.Roles != nil || verb == "createUser" {
		d = append(d, bson.E{Key: "roles", Value: rolesOf(p.Roles, db)})
	}
	if p.CustomData != nil {
		d = append(d, bson.E{Key: "customData", Value: p.CustomData.D})
	}
	if p.Mechanisms != nil {
		d = append(d, bson.E{Key: "mechanisms", Value: p.Mechanisms})
	}
	return d
}

// fits tells whether a user is as p says; a password cannot be read.
func (p *User) fits(u *userInfo, db string) bool {
	return (p.Roles == nil || sameSet(rolesOf(p.Roles, db), u.Roles)) &&
		(p.CustomData == nil || same(p.CustomData.D, u.CustomData))
}

// userBefore is the captured state of operations on users.
type userBefore struct {
	Existed bool     `bson:"existed"`
	User    userInfo `bson:"user"`
}

func (c *Conn) captureUser(ctx context.Context, name, db string) ([]byte, error) {
	u, err := c.user(ctx, name, db)
	if err != nil || u == nil {
		return must(keep(userBefore{}))(err)
	}
	return keep(userBefore{true, *u})
}

func createUser() sdk.Operation[*Conn] {
	type step = *sdk.Step[sdk.None, User]
	return sdk.NewOperation(sdk.OperationSpec[*Conn, User]{
		Type: "createUser", Summary: "makes a user", NotTransactional: account,
		Check: func(c *sdk.Check[sdk.None, User]) { checkRoles(c, func(p User) []any { return p.Roles }) },
		Preview: func(_ context.Context, c *Conn, s step) (sdk.Preview, error) {
			db := c.database(s.Payload.DB).Name()
			return sdk.Preview{Lines: []string{fmt.Sprintf("create user %s on %s with %s", s.Payload.User, db, valueText(rolesOf(s.Payload.Roles, db)))}}, nil
		},
		Probe: func(ctx context.Context, c *Conn, s step) (sdk.Evidence, error) {
			u, err := c.user(ctx, s.Payload.User, s.Payload.DB)
			switch {
			case err != nil:
				return sdk.Evidence{}, err
			case u == nil:
				return sdk.Evidence{Kind: sdk.NotApplied, Detail: "the user is not there"}, nil
			case !s.Payload.fits(u, c.database(s.Payload.DB).Name()):
				return sdk.Evidence{Detail: "the user is there and differs"}, nil
			}
			return sdk.Evidence{Kind: sdk.Applied, Detail: "the user is there"}, nil
		},
		Capture: func(ctx context.Context, c *Conn, s step) ([]byte, error) {
			return c.captureUser(ctx, s.Payload.User, s.Payload.DB)
		},
		Apply: func(ctx context.Context, c *Conn, s step) error {
			db := c.database(s.Payload.DB)
			err := db.RunCommand(ctx, s.Payload.command("createUser", db.Name())).Err()
			if hasCode(err, codeUserExists) {
				u, uerr := c.user(ctx, s.Payload.User, s.Payload.DB)
				if uerr == nil && u != nil && s.Payload.fits(u, db.Name()) {
					return nil
				}
			}
			return cleanly(failure("create user "+s.Payload.User, err))
		},
		Inverse: func(ctx context.Context, c *Conn, s step, state []byte) error {
			before, err := kept[userBefore](state)
			if err != nil || before.Existed {
				return err
			}
			return c.removeUser(ctx, s.Payload.User, s.Payload.DB)
		},
	})
}

func (c *Conn) removeUser(ctx context.Context, name, db string) error {
	err := c.database(db).RunCommand(ctx, bson.D{{Key: "dropUser", Value: name}}).Err()
	if hasCode(err, codeUserNotFound) {
		return nil
	}
	return failure("drop user "+name, err)
}

func updateUser() sdk.Operation[*Conn] {
	type step = *sdk.Step[sdk.None, User]
	return sdk.NewOperation(sdk.OperationSpec[*Conn, User]{
		Type: "updateUser", Summary: "changes password, roles or data of a user", NotTransactional: account,
		Check: func(c *sdk.Check[sdk.None, User]) {
			checkRoles(c, func(p User) []any { return p.Roles })
			for _, s := range c.Steps {
				if s.Apply.Password.Reveal() != "" {
					c.NotProbed()
					c.Irreversible("the password before cannot be read")
				}
			}
		},
		Preview: func(_ context.Context, c *Conn, s step) (sdk.Preview, error) {
			return sdk.Preview{Lines: []string{fmt.Sprintf("update user %s on %s", s.Payload.User, c.database(s.Payload.DB).Name())}}, nil
		},
		Probe: func(ctx context.Context, c *Conn, s step) (sdk.Evidence, error) {
			u, err := c.user(ctx, s.Payload.User, s.Payload.DB)
			if err != nil {
				return sdk.Evidence{}, err
			}
			if u != nil && s.Payload.Password.Reveal() == "" && s.Payload.fits(u, c.database(s.Payload.DB).Name()) {
				return sdk.Evidence{Kind: sdk.Applied}, nil
			}
			return sdk.Evidence{Kind: sdk.Partly, Detail: "doing it again changes nothing more"}, nil
		},
		Capture: func(ctx context.Context, c *Conn, s step) ([]byte, error) {
			return c.captureUser(ctx, s.Payload.User, s.Payload.DB)
		},
		Apply: func(ctx context.Context, c *Conn, s step) error {
			db := c.database(s.Payload.DB)
			return cleanly(failure("update user "+s.Payload.User, db.RunCommand(ctx, s.Payload.command("updateUser", db.Name())).Err()))
		},
		Inverse: func(ctx context.Context, c *Conn, s step, state []byte) error {
			if s.Payload.Password.Reveal() != "" {
				return sdk.Errorf(sdk.Unsupported, "the password that user %s had cannot be put back; write the rollback", s.Payload.User)
			}
			before, err := kept[userBefore](state)
			if err != nil || !before.Existed {
				return err
			}
			d := bson.D{{Key: "updateUser", Value: s.Payload.User}, {Key: "roles", Value: before.User.Roles}}
			if s.Payload.CustomData != nil {
				d = append(d, bson.E{Key: "customData", Value: before.User.CustomData})
			}
			return failure("put back user "+s.Payload.User, c.database(s.Payload.DB).RunCommand(ctx, d).Err())
		},
	})
}

func dropUser() sdk.Operation[*Conn] {
	type step = *sdk.Step[sdk.None, DropUser]
	return sdk.NewOperation(sdk.OperationSpec[*Conn, DropUser]{
		Type: "dropUser", Removes: true, Summary: "drops a user", NotTransactional: account,
		Check: func(c *sdk.Check[sdk.None, DropUser]) {
			c.Irreversible("the user's password cannot be read")
		},
		Preview: func(_ context.Context, c *Conn, s step) (sdk.Preview, error) {
			return sdk.Preview{Lines: []string{fmt.Sprintf("drop user %s on %s", s.Payload.User, c.database(s.Payload.DB).Name())}}, nil
		},
		Probe: func(ctx context.Context, c *Conn, s step) (sdk.Evidence, error) {
			u, err := c.user(ctx, s.Payload.User, s.Payload.DB)
			if err != nil {
				return sdk.Evidence{}, err
			}
			if u == nil {
				return sdk.Evidence{Kind: sdk.Applied}, nil
			}
			return sdk.Evidence{Kind: sdk.NotApplied}, nil
		},
		Apply: func(ctx context.Context, c *Conn, s step) error {
			return cleanly(c.removeUser(ctx, s.Payload.User, s.Payload.DB))
		},
	})
}

func grantRoles() sdk.Operation[*Conn] {
	return granting("grantRoles", "gives roles to a user", "grantRolesToUser", "revokeRolesFromUser", true)
}

func revokeRoles() sdk.Operation[*Conn] {
	return granting("revokeRoles", "takes roles from a user", "revokeRolesFromUser", "grantRolesToUser", false)
}

func granting(kind, summary, verb, back string, grants bool) sdk.Operation[*Conn] {
	type step = *sdk.Step[sdk.None, Grant]
	has := func(ctx context.Context, c *Conn, s step) (had bson.A, err error) {
		u, err := c.user(ctx, s.Payload.User, s.Payload.DB)
		if err == nil && u == nil {
			err = sdk.Errorf(sdk.NotFound, "user %s is not there", s.Payload.User)
		}
		if err != nil {
			return nil, err
		}
		for _, r := range rolesOf(s.Payload.Roles, c.database(s.Payload.DB).Name()) {
			if holds(u.Roles, bson.A{r}) {
				had = append(had, r)
			}
		}
		return had, nil
	}
	// changed is what of the roles this change gives or takes.
	type changed struct {
		Roles bson.A `bson:"roles"`
	}
	return sdk.NewOperation(sdk.OperationSpec[*Conn, Grant]{
		Type: kind, Summary: summary, NotTransactional: account,
		Check: func(c *sdk.Check[sdk.None, Grant]) { checkRoles(c, func(p Grant) []any { return p.Roles }) },
		Preview: func(_ context.Context, c *Conn, s step) (sdk.Preview, error) {
			return sdk.Preview{Lines: []string{fmt.Sprintf("%s %s: %s", kind, s.Payload.User, valueText(rolesOf(s.Payload.Roles, c.database(s.Payload.DB).Name())))}}, nil
		},
		Probe: func(ctx context.Context, c *Conn, s step) (sdk.Evidence, error) {
			had, err := has(ctx, c, s)
			if err != nil {
				return sdk.Evidence{}, err
			}
			n := len(had)
			if !grants {
				n = len(s.Payload.Roles) - n
			}
			switch n {
			case len(s.Payload.Roles):
				return sdk.Evidence{Kind: sdk.Applied}, nil
			case 0:
				return sdk.Evidence{Kind: sdk.NotApplied}, nil
			}
			return sdk.Evidence{Kind: sdk.Partly}, nil
		},
		Capture: func(ctx context.Context, c *Conn, s step) ([]byte, error) {
			had, err := has(ctx, c, s)
			if err != nil {
				return nil, err
			}
			if !grants {
				return keep(changed{had})
			}
			var missing bson.A
			for _, r := range rolesOf(s.Payload.Roles, c.database(s.Payload.DB).Name()) {
				if !holds(had, bson.A{r}) {
					missing = append(missing, r)
				}
			}
			return keep(changed{missing})
		},
		Apply: func(ctx context.Context, c *Conn, s step) error {
			db := c.database(s.Payload.DB)
			return cleanly(failure(kind+" "+s.Payload.User, db.RunCommand(ctx,
				bson.D{{Key: verb, Value: s.Payload.User}, {Key: "roles", Value: rolesOf(s.Payload.Roles, db.Name())}}).Err()))
		},
		Inverse: func(ctx context.Context, c *Conn, s step, state []byte) error {
			this, err := kept[changed](state)
			if err != nil || len(this.Roles) == 0 {
				return err
			}
			return failure("take back "+kind+" "+s.Payload.User, c.database(s.Payload.DB).RunCommand(ctx,
				bson.D{{Key: back, Value: s.Payload.User}, {Key: "roles", Value: this.Roles}}).Err())
		},
	})
}

// command returns createRole or updateRole.
func (p *Role) command(verb, db string) bson.D {
	d := bson.D{{Key: verb, Value: p.Role}}
	if p.Privileges != nil || verb == "createRole" {
		privileges := bson.A{}
		for _, x := range p.Privileges {
			privileges = append(privileges, x.D)
		}
		d = append(d, bson.E{Key: "privileges", Value: privileges})
	}
	if p.Roles != nil || verb == "createRole" {
		d = append(d, bson.E{Key: "roles", Value: rolesOf(p.Roles, db)})
	}
	return d
}

// fits tells whether a role is as p says.
func (p *Role) fits(r *roleInfo, db string) bool {
	privileges := bson.A{}
	for _, x := range p.Privileges {
		privileges = append(privileges, x.D)
	}
	return (p.Privileges == nil || sameSet(privileges, r.Privileges)) && (p.Roles == nil || sameSet(rolesOf(p.Roles, db), r.Roles))
}

// roleBefore is the captured state of operations on roles.
type roleBefore struct {
	Existed bool     `bson:"existed"`
	Role    roleInfo `bson:"role"`
}

func (c *Conn) captureRole(ctx context.Context, name, db string) ([]byte, error) {
	r, err := c.role(ctx, name, db)
	if err != nil || r == nil {
		return must(keep(roleBefore{}))(err)
	}
	return keep(roleBefore{true, *r})
}

func (c *Conn) putRole(ctx context.Context, verb, name, db string, r roleInfo) error {
	if r.Privileges == nil {
		r.Privileges = bson.A{}
	}
	if r.Roles == nil {
		r.Roles = bson.A{}
	}
	return failure("put back role "+name, c.database(db).RunCommand(ctx,
		bson.D{{Key: verb, Value: name}, {Key: "privileges", Value: r.Privileges}, {Key: "roles", Value: r.Roles}}).Err())
}

func (c *Conn) removeRole(ctx context.Context, name, db string) error {
	err := c.database(db).RunCommand(ctx, bson.D{{Key: "dropRole", Value: name}}).Err()
	if hasCode(err, codeRoleNotFound) {
		return nil
	}
	return failure("drop role "+name, err)
}

func createRole() sdk.Operation[*Conn] {
	return roleOperation("createRole", "makes a role", func(ctx context.Context, c *Conn, s *sdk.Step[sdk.None, Role], before roleBefore) error {
		if before.Existed {
			return nil
		}
		return c.removeRole(ctx, s.Payload.Role, s.Payload.DB)
	})
}

func updateRole() sdk.Operation[*Conn] {
	return roleOperation("updateRole", "changes privileges or roles of a role", func(ctx context.Context, c *Conn, s *sdk.Step[sdk.None, Role], before roleBefore) error {
		if !before.Existed {
			return nil
		}
		return c.putRole(ctx, "updateRole", s.Payload.Role, s.Payload.DB, before.Role)
	})
}

func roleOperation(kind, summary string, back func(context.Context, *Conn, *sdk.Step[sdk.None, Role], roleBefore) error) sdk.Operation[*Conn] {
	type step = *sdk.Step[sdk.None, Role]
	return sdk.NewOperation(sdk.OperationSpec[*Conn, Role]{
		Type: kind, Summary: summary, NotTransactional: account,
		Check: func(c *sdk.Check[sdk.None, Role]) { checkRoles(c, func(p Role) []any { return p.Roles }) },
		Preview: func(_ context.Context, c *Conn, s step) (sdk.Preview, error) {
			return sdk.Preview{Lines: []string{text(s.Payload.command(kind, c.database(s.Payload.DB).Name()))}}, nil
		},
		Probe: func(ctx context.Context, c *Conn, s step) (sdk.Evidence, error) {
			r, err := c.role(ctx, s.Payload.Role, s.Payload.DB)
			switch {
			case err != nil:
				return sdk.Evidence{}, err
			case r != nil && s.Payload.fits(r, c.database(s.Payload.DB).Name()):
				return sdk.Evidence{Kind: sdk.Applied}, nil
			case r != nil && kind == "createRole":
				return sdk.Evidence{Detail: "the role is there and differs"}, nil
			}
			return sdk.Evidence{Kind: sdk.NotApplied}, nil
		},
		Capture: func(ctx context.Context, c *Conn, s step) ([]byte, error) {
			return c.captureRole(ctx, s.Payload.Role, s.Payload.DB)
		},
		Apply: func(ctx context.Context, c *Conn, s step) error {
			db := c.database(s.Payload.DB)
			err := db.RunCommand(ctx, s.Payload.command(kind, db.Name())).Err()
			if hasCode(err, codeRoleExists) {
				r, rerr := c.role(ctx, s.Payload.Role, s.Payload.DB)
				if rerr == nil && r != nil && s.Payload.fits(r, db.Name()) {
					return nil
				}
			}
			return cleanly(failure(kind+" "+s.Payload.Role, err))
		},
		Inverse: func(ctx context.Context, c *Conn, s step, state []byte) error {
			before, err := kept[roleBefore](state)
			if err != nil {
				return err
			}
			return back(ctx, c, s, before)
		},
	})
}

func dropRole() sdk.Operation[*Conn] {
	type step = *sdk.Step[sdk.None, DropRole]
	return sdk.NewOperation(sdk.OperationSpec[*Conn, DropRole]{
		Type: "dropRole", Removes: true, Summary: "drops a role", NotTransactional: account,
		Preview: func(_ context.Context, c *Conn, s step) (sdk.Preview, error) {
			return sdk.Preview{Lines: []string{fmt.Sprintf("drop role %s on %s", s.Payload.Role, c.database(s.Payload.DB).Name())}}, nil
		},
		Probe: func(ctx context.Context, c *Conn, s step) (sdk.Evidence, error) {
			r, err := c.role(ctx, s.Payload.Role, s.Payload.DB)
			if err != nil {
				return sdk.Evidence{}, err
			}
			if r == nil {
				return sdk.Evidence{Kind: sdk.Applied}, nil
			}
			return sdk.Evidence{Kind: sdk.NotApplied}, nil
		},
		Capture: func(ctx context.Context, c *Conn, s step) ([]byte, error) {
			return c.captureRole(ctx, s.Payload.Role, s.Payload.DB)
		},
		Apply: func(ctx context.Context, c *Conn, s step) error {
			return cleanly(c.removeRole(ctx, s.Payload.Role, s.Payload.DB))
		},
		Inverse: func(ctx context.Context, c *Conn, s step, state []byte) error {
			before, err := kept[roleBefore](state)
			if err != nil || !before.Existed {
				return err
			}
			there, err := c.role(ctx, s.Payload.Role, s.Payload.DB)
			if err != nil || there != nil {
				return err
			}
			return c.putRole(ctx, "createRole", s.Payload.Role, s.Payload.DB, before.Role)
		},
	})
}
