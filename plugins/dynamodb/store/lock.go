package dynamostore

import (
	"context"
	"crypto/rand"
	"errors"
	"maps"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/dynamodb"
	"github.com/aws/aws-sdk-go-v2/service/dynamodb/types"

	"github.com/flamingock/flamingock-go/plugin/sdk/store"
)

// held is the status that the Java implementation writes.
const held = "LOCK_HELD"

// mine is the condition that the lock's item is the lease's. Java, which replaces
// the item as a whole, leaves no token in it.
func mine(x *expression, l store.Lease) string {
	return x.name("lockOwner") + " = " + x.value("owner", str(l.Owner)) + " AND " + x.name("fencingToken") + " = " + x.value("token", num(l.Token))
}

// state is the lock and the head at one moment.
type state struct {
	head *head
	// item is the lock's; nil where it is free.
	item   item
	holder *store.Holder
}

// state reads both.
func (s *Store) state(ctx context.Context, key string) (*state, error) {
	var out *dynamodb.TransactGetItemsOutput
	err := patient(ctx, func() (err error) {
		out, err = s.db.TransactGetItems(ctx, &dynamodb.TransactGetItemsInput{TransactItems: []types.TransactGetItem{
			{Get: &types.Get{TableName: &s.main, Key: keyOf(storeKey, storeKey)}},
			{Get: &types.Get{TableName: &s.lock, Key: item{partitionKey: str(key)}}},
		}})
		return err
	})
	if err != nil {
		return nil, wrap("TransactGetItems", names(s.main, s.lock), err)
	}
	h, err := headOf(out.Responses[0].Item)
	if err != nil {
		return nil, err
	}
	st := &state{head: h}
	if i := out.Responses[1].Item; len(i) > 0 {
		st.item, st.holder = i, holderOf(h, key, i)
	}
	if st.holder != nil && st.holder.Foreign {
		s.mu.Lock()
		s.javaSeen = true
		s.mu.Unlock()
	}
	return st, nil
}

// holderOf reads the lock's item. It is ours if it has the newest token.
func holderOf(h *head, key string, i item) *store.Holder {
	r := reader(i)
	out := &store.Holder{Key: key, Owner: r.text("lockOwner"), ExpiresAt: time.UnixMilli(r.int("expiresAt")).UTC(), Version: r.text("version")}
	token, ours := r.number("fencingToken")
	if ours && token == h.tokens[key] && out.Version != "" {
		out.Token = token
		return out
	}
	// Java's has no version: it is all that stands in the item.
	out.Foreign, out.Version = true, "java "+hash(contents(i)...)
	return out
}

// contents writes out the attributes of an item.
func contents(i item) []string {
	var list []string
	for _, name := range slices.Sorted(maps.Keys(i)) {
		text := ""
		switch v := i[name].(type) {
		case *types.AttributeValueMemberS:
			text = "S" + v.Value
		case *types.AttributeValueMemberN:
			text = "N" + v.Value
		case *types.AttributeValueMemberBOOL:
			text = strconv.FormatBool(v.Value)
		}
		list = append(list, name, text)
	}
	return list
}

// unchanged is the condition that the lock's item is still i, or still missing.
func unchanged(x *expression, i item) string {
	if i == nil {
		return "attribute_not_exists(" + x.name(partitionKey) + ")"
	}
	var list []string
	for _, name := range []string{"lockOwner", "expiresAt", "status", "fencingToken", "version"} {
		if v, ok := i[name]; ok {
			list = append(list, x.name(name)+" = "+x.value("old"+name, v))
		} else {
			list = append(list, "attribute_not_exists("+x.name(name)+")")
		}
	}
	return strings.Join(list, " AND ")
}

// count returns the write that makes token the newest one of key.
func (s *Store) count(h *head, key string, token int64) types.TransactWriteItem {
	var x expression
	path := x.name("tokens") + "." + x.key(key)
	update := "SET " + path + " = " + x.value("token", num(token))
	s.mu.Lock()
	if s.javaSeen && !h.shared {
		update += ", " + x.name("shared") + " = " + x.value("shared", flag(true))
	}
	s.mu.Unlock()
	condition := "attribute_not_exists(" + path + ")"
	if old, ok := h.tokens[key]; ok {
		condition = path + " = " + x.value("old", num(old))
	}
	return s.updateHead(x, update, condition)
}

// above returns a token above all that were given: should the own table have been
// lost, the lock's item can have one that the counter does not know.
func (st *state) above(key string) int64 {
	return max(st.head.tokens[key], reader(st.item).int("fencingToken")) + 1
}

// Acquire implements store.Store.
func (s *Store) Acquire(ctx context.Context, req store.AcquireRequest) (store.Lease, error) {
	version := rand.Text()
	for {
		st, err := s.state(ctx, req.Key)
		if err != nil {
			return store.Lease{}, s.errorf("acquire the lock", err)
		}
		if st.holder != nil && st.holder.Version == version {
			// An earlier send got it, whose answer was lost.
			return store.Lease{Key: req.Key, Owner: req.Owner, Token: st.holder.Token}, nil
		}
		if st.holder != nil && (req.Takeover == "" || st.holder.Version != req.Takeover) {
			return store.Lease{}, &store.HeldError{Holder: *st.holder}
		}
		l := store.Lease{Key: req.Key, Owner: req.Owner, Token: st.above(req.Key)}
		i := item{
			partitionKey: str(req.Key), "key": str(req.Key), "status": str(held), "lockOwner": str(req.Owner),
			"expiresAt": num(time.Now().Add(req.TTL).UnixMilli()), "fencingToken": num(l.Token), "version": str(version),
		}
		var x expression
		condition := unchanged(&x, st.item)
		err = s.transact(ctx, []types.TransactWriteItem{s.count(st.head, req.Key, l.Token), {Put: &types.Put{
			TableName: &s.lock, Item: i, ConditionExpression: &condition, ExpressionAttributeNames: x.names, ExpressionAttributeValues: x.values,
		}}})
		if err == nil {
			return l, nil
		}
		var c *conditionError
		if !errors.As(err, &c) {
			return store.Lease{}, s.errorf("acquire the lock", err)
		}
		// Somebody changed it: look who has it now.
	}
}

// Renew implements store.Store. The lock's item alone tells: whoever takes or
// breaks the lock replaces or removes it.
func (s *Store) Renew(ctx context.Context, l store.Lease, ttl time.Duration) error {
	var x expression
	condition := mine(&x, l)
	update := "SET " + x.name("expiresAt") + " = " + x.value("end", num(time.Now().Add(ttl).UnixMilli())) + ", " +
		x.name("version") + " = " + x.value("version", str(rand.Text()))
	err := patient(ctx, func() error {
		_, err := s.db.UpdateItem(ctx, &dynamodb.UpdateItemInput{
			TableName: &s.lock, Key: item{partitionKey: str(l.Key)}, UpdateExpression: &update, ConditionExpression: &condition,
			ExpressionAttributeNames: x.names, ExpressionAttributeValues: x.values,
		})
		return err
	})
	var failed *types.ConditionalCheckFailedException
	switch {
	case err == nil:
		return nil
	case errors.As(err, &failed):
		return s.errorf("renew the lock", stale(l))
	}
	return s.errorf("renew the lock", wrap("UpdateItem", s.lock, err))
}

// Release implements store.Store. A journal that could not be written out is tried
// again: whoever has the lock next may be Java, which does not read it.
func (s *Store) Release(ctx context.Context, l store.Lease) error {
	select {
	case s.turn <- struct{}{}:
		if s.under == l && s.known != nil && s.known.pending != "" {
			_ = s.finish(ctx, l) // our own readers know of it
		}
		<-s.turn
	default:
	}
	var x expression
	condition := mine(&x, l)
	err := patient(ctx, func() error {
		_, err := s.db.DeleteItem(ctx, &dynamodb.DeleteItemInput{
			TableName: &s.lock, Key: item{partitionKey: str(l.Key)}, ConditionExpression: &condition,
			ExpressionAttributeNames: x.names, ExpressionAttributeValues: x.values,
		})
		return err
	})
	var failed *types.ConditionalCheckFailedException
	if err == nil || errors.As(err, &failed) {
		return nil
	}
	return s.errorf("release the lock", wrap("DeleteItem", s.lock, err))
}

// Holder implements store.Store.
func (s *Store) Holder(ctx context.Context, key string) (*store.Holder, error) {
	st, err := s.state(ctx, key)
	if err != nil {
		return nil, s.errorf("read the lock", err)
	}
	return st.holder, nil
}

// Break implements store.Store.
func (s *Store) Break(ctx context.Context, key string) (*store.Holder, error) {
	for {
		st, err := s.state(ctx, key)
		if err != nil {
			return nil, s.errorf("break the lock", err)
		}
		var x expression
		condition := unchanged(&x, st.item)
		err = s.transact(ctx, []types.TransactWriteItem{s.count(st.head, key, st.above(key)), {Delete: &types.Delete{
			TableName: aws.String(s.lock), Key: item{partitionKey: str(key)}, ConditionExpression: &condition,
			ExpressionAttributeNames: x.names, ExpressionAttributeValues: x.values,
		}}})
		var c *conditionError
		if err == nil {
			return st.holder, nil
		}
		if !errors.As(err, &c) {
			return nil, s.errorf("break the lock", err)
		}
	}
}
