package sqlstore

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"time"

	"github.com/flamingock/flamingock-go/plugin/sdk/store"
)

// held is the status that the Java implementation writes.
const held = "LOCK_HELD"

// withZone puts the zone's parameter before args, where the dialect's now takes
// one.
func (s *Store) withZone(args ...any) []any {
	if s.d.zone == nil {
		return args
	}
	return append([]any{s.d.zone(s.zone)}, args...)
}

// counter returns the newest token. It locks the counter's row until tx ends, so
// that our instances take turns; what Java does to the lock's row is seen then.
func (s *Store) counter(ctx context.Context, tx *sql.Tx, key string) (int64, error) {
	if _, err := tx.ExecContext(ctx, s.bind(s.d.insertMissing), lockName(key), nil); err != nil {
		return 0, err
	}
	var token int64
	err := tx.QueryRowContext(ctx, s.bind("SELECT token FROM flamingockStore WHERE name = ?"+s.d.update), lockName(key)).Scan(&token)
	return token, err
}

// Acquire implements store.Store.
func (s *Store) Acquire(ctx context.Context, req store.AcquireRequest) (store.Lease, error) {
	l := store.Lease{Key: req.Key, Owner: req.Owner}
	err := s.tx(ctx, "acquire the lock", func(tx *sql.Tx) error {
		token, err := s.counter(ctx, tx, req.Key)
		if err != nil {
			return err
		}
		h, now, err := s.holder(ctx, tx, req.Key)
		if err != nil {
			return err
		}
		if h != nil && h.Remaining > 0 {
			return &store.HeldError{Holder: *h}
		}
		l.Token, l.Now = token+1, now
		_, err = tx.ExecContext(ctx, s.bind("UPDATE flamingockStore SET token = ?, owner = ? WHERE name = ?"), l.Token, req.Owner, lockName(req.Key))
		if err != nil {
			return err
		}
		until := s.d.plus(s.d.now)
		if h == nil {
			_, err = tx.ExecContext(ctx, s.bind("INSERT INTO "+s.lock+" (owner, status, "+s.d.key+", expires_at) VALUES (?, ?, ?, "+until+")"),
				append([]any{req.Owner, held, req.Key}, s.until(req.TTL)...)...)
			return err
		}
		// Only the row that was read: a Java instance may have renewed it.
		res, err := tx.ExecContext(ctx, s.bind("UPDATE "+s.lock+" SET owner = ?, status = ?, expires_at = "+until+
			" WHERE "+s.d.key+" = ? AND owner = ?"),
			append(append([]any{req.Owner, held}, s.until(req.TTL)...), req.Key, h.Owner)...)
		if err != nil {
			return err
		}
		if n, err := res.RowsAffected(); err != nil || n == 0 {
			return errors.Join(err, &store.HeldError{Holder: *h})
		}
		return nil
	})
	if err != nil {
		return store.Lease{}, s.raced(err, req.Key)
	}
	return l, nil
}

// raced turns the error of an insert that met a row of a Java instance into a
// refusal.
func (s *Store) raced(err error, key string) error {
	if pgState(err, "23505") || mysqlNumber(err, 1062) {
		return &store.HeldError{Holder: store.Holder{Key: key, Owner: "another instance", Foreign: true, Version: time.Now().String()}}
	}
	return err
}

// until are the parameters of the end of a lease: the zone, if any, and the
// milliseconds, in the order in which the expression has them.
func (s *Store) until(ttl time.Duration) []any {
	if s.d.zone == nil {
		return []any{ttl.Milliseconds()}
	}
	if s.d.name == "mysql" {
		return []any{ttl.Milliseconds(), s.d.zone(s.zone)}
	}
	return []any{s.d.zone(s.zone), ttl.Milliseconds()}
}

// querier is a database or a transaction.
type querier interface {
	QueryRowContext(ctx context.Context, query string, args ...any) *sql.Row
}

// holder reads the lock's row; nil where there is none. It returns the server's
// time as well.
func (s *Store) holder(ctx context.Context, q querier, key string) (*store.Holder, time.Time, error) {
	var (
		h             = store.Holder{Key: key}
		at, expires   any
		holder, owner sql.NullString
		token         sql.NullInt64
	)
	err := q.QueryRowContext(ctx, s.bind("SELECT "+s.d.now+", k.owner, k.expires_at, st.owner, st.token FROM (SELECT 1 AS one) o "+
		"LEFT JOIN "+s.lock+" k ON k."+s.d.key+" = ? LEFT JOIN flamingockStore st ON st.name = ?"),
		s.withZone(key, lockName(key))...).Scan(&at, &holder, &expires, &owner, &token)
	if err != nil {
		return nil, time.Time{}, err
	}
	now, err := s.time(at)
	if err != nil {
		return nil, now, fmt.Errorf("the server's time: %w", err)
	}
	if !holder.Valid {
		return nil, now, nil
	}
	h.Owner, h.Token, h.Foreign = holder.String, token.Int64, owner.String != holder.String
	if h.ExpiresAt, err = s.time(expires); err != nil {
		return nil, now, fmt.Errorf("the lock's expires_at: %w", err)
	}
	h.Remaining = h.ExpiresAt.Sub(now)
	h.Version = fmt.Sprintf("%s %d", h.Owner, h.ExpiresAt.UnixMicro())
	return &h, now, nil
}

// Renew implements store.Store.
func (s *Store) Renew(ctx context.Context, l store.Lease, ttl time.Duration) error {
	return s.tx(ctx, "renew the lock", func(tx *sql.Tx) error {
		if err := s.holds(ctx, tx, l, s.d.share); err != nil {
			return err
		}
		_, err := tx.ExecContext(ctx, s.bind("UPDATE "+s.lock+" SET expires_at = "+s.d.plus(s.d.now)+" WHERE "+s.d.key+" = ? AND owner = ?"),
			append(s.until(ttl), l.Key, l.Owner)...)
		return err
	})
}

// Release implements store.Store.
func (s *Store) Release(ctx context.Context, l store.Lease) error {
	return s.tx(ctx, "release the lock", func(tx *sql.Tx) error {
		err := s.holds(ctx, tx, l, s.d.share)
		if errors.Is(err, store.ErrStale) {
			return nil
		}
		if err != nil {
			return err
		}
		_, err = tx.ExecContext(ctx, s.bind("DELETE FROM "+s.lock+" WHERE "+s.d.key+" = ? AND owner = ?"), l.Key, l.Owner)
		return err
	})
}

// Holder implements store.Store.
func (s *Store) Holder(ctx context.Context, key string) (*store.Holder, error) {
	h, _, err := s.holder(ctx, s.db, key)
	if err != nil {
		return nil, s.errorf("read the lock", err)
	}
	return h, nil
}

// Break implements store.Store. The holder is read before the counter's row
// forgets it, since that is how our rows are told from those of Java.
func (s *Store) Break(ctx context.Context, key string) (*store.Holder, error) {
	var h *store.Holder
	err := s.tx(ctx, "break the lock", func(tx *sql.Tx) error {
		token, err := s.counter(ctx, tx, key)
		if err != nil {
			return err
		}
		if h, _, err = s.holder(ctx, tx, key); err != nil {
			return err
		}
		if _, err := tx.ExecContext(ctx, s.bind("UPDATE flamingockStore SET token = ?, owner = NULL WHERE name = ?"), token+1, lockName(key)); err != nil {
			return err
		}
		_, err = tx.ExecContext(ctx, s.bind("DELETE FROM "+s.lock+" WHERE "+s.d.key+" = ?"), key)
		return err
	})
	if err != nil {
		return nil, err
	}
	return h, nil
}
