package kafka

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"slices"
	"strconv"
	"strings"
	"time"

	kafkago "github.com/segmentio/kafka-go"
	"github.com/segmentio/kafka-go/protocol"
	"github.com/segmentio/kafka-go/protocol/apiversions"
	"github.com/segmentio/kafka-go/protocol/findcoordinator"
	"github.com/segmentio/kafka-go/protocol/metadata"
	"github.com/segmentio/kafka-go/protocol/saslauthenticate"
	"github.com/segmentio/kafka-go/protocol/saslhandshake"
	"github.com/segmentio/kafka-go/sasl"
)

// The client of kafka-go answers requests for metadata from a cache, routes by it,
// and tells brokers a time limit that is not the context's. So requests are sent to
// the brokers here, each to one that is named, on connections of kafka-go's protocol
// package: what a look finds is what that broker says at that moment.

// idleTime is how long a connection that is not used is kept: less than brokers do.
const idleTime = 20 * time.Second

// link is a connection to a broker.
type link struct {
	conn *protocol.Conn
	// knows has the versions of the requests that the broker understands.
	knows map[protocol.ApiKey]int16
	used  time.Time
}

// broker is one of a cluster.
type broker struct {
	id   int32
	addr string
	rack string
}

// view is what one broker knows of its cluster.
type view struct {
	cluster    string
	controller int32
	// brokers are those that are alive, by id.
	brokers []broker
	// at is who says so.
	at     string
	topics []metadata.ResponseTopic
}

// broker returns the one with an id.
func (v *view) broker(id int32) (broker, bool) {
	i := slices.IndexFunc(v.brokers, func(b broker) bool { return b.id == id })
	if i < 0 {
		return broker{}, false
	}
	return v.brokers[i], true
}

// lead returns the broker that is asked to change something.
func (v *view) lead() string {
	if b, ok := v.broker(v.controller); ok {
		return b.addr
	}
	return v.at
}

// take returns an idle connection to a broker, or a new one.
func (c *Conn) take(ctx context.Context, addr string) (*link, error) {
	c.mu.Lock()
	for list := c.idle[addr]; len(list) > 0; list = c.idle[addr] {
		l := list[len(list)-1]
		c.idle[addr] = list[:len(list)-1]
		if time.Since(l.used) < idleTime {
			c.mu.Unlock()
			return l, nil
		}
		_ = l.conn.Close() // nobody waits for it
	}
	c.mu.Unlock()
	return c.dial(ctx, addr)
}

// give keeps a connection for the next request.
func (c *Conn) give(addr string, l *link) {
	l.used = time.Now()
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.closed {
		_ = l.conn.Close() // nobody waits for it
		return
	}
	c.idle[addr] = append(c.idle[addr], l)
}

// hangUp ends all idle connections.
func (c *Conn) hangUp() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.closed = true
	for _, list := range c.idle {
		for _, l := range list {
			_ = l.conn.Close() // nobody waits for it
		}
	}
	c.idle = nil
}

// dial connects to a broker and logs in.
func (c *Conn) dial(ctx context.Context, addr string) (*link, error) {
	ctx, cancel := context.WithTimeout(ctx, c.dialTime)
	defer cancel()
	unreachable := func(err error) error {
		if cause := ctx.Err(); cause != nil && !errors.As(err, new(kafkago.Error)) {
			err = cause
		}
		return &linkError{addr: addr, err: err}
	}
	raw, err := c.dialer(ctx, addr)
	if err != nil {
		return nil, unreachable(err)
	}
	conn := protocol.NewConn(raw, c.clientID)
	l := &link{conn: conn, knows: map[protocol.ApiKey]int16{}}
	err = interruptible(ctx, conn, func() error {
		r, err := conn.RoundTrip(&apiversions.Request{})
		if err != nil {
			return err
		}
		versions, ok := r.(*apiversions.Response)
		if !ok || versions.ErrorCode != 0 {
			return fmt.Errorf("the broker does not tell which requests it understands")
		}
		for _, v := range versions.ApiKeys {
			key := protocol.ApiKey(v.ApiKey)
			if chosen := key.SelectVersion(v.MinVersion, v.MaxVersion); chosen >= v.MinVersion && chosen <= v.MaxVersion {
				l.knows[key] = chosen
			}
		}
		conn.SetVersions(l.knows)
		if c.sasl == nil {
			return nil
		}
		return authenticate(ctx, conn, addr, c.sasl)
	})
	if err != nil {
		_ = conn.Close() // it is of no use
		return nil, unreachable(err)
	}
	return l, nil
}

// authenticate logs in.
func authenticate(ctx context.Context, conn *protocol.Conn, addr string, mechanism sasl.Mechanism) error {
	host, port, err := net.SplitHostPort(addr)
	if err != nil {
		return err
	}
	number, err := strconv.Atoi(port)
	if err != nil {
		return err
	}
	r, err := conn.RoundTrip(&saslhandshake.Request{Mechanism: mechanism.Name()})
	if err != nil {
		return err
	}
	if shake, ok := r.(*saslhandshake.Response); ok && shake.ErrorCode != 0 {
		return &brokerError{code: kafkago.Error(shake.ErrorCode), message: fmt.Sprintf(
			"it does not take SASL mechanism %s, but %s", mechanism.Name(), strings.Join(shake.Mechanisms, ", "),
		)}
	}
	session, say, err := mechanism.Start(sasl.WithMetadata(ctx, &sasl.Metadata{Host: host, Port: number}))
	if err != nil {
		return err
	}
	for done := false; !done; {
		r, err := conn.RoundTrip(&saslauthenticate.Request{AuthBytes: say})
		if errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) {
			return &brokerError{code: kafkago.SASLAuthenticationFailed, message: "it ended the connection"}
		}
		if err != nil {
			return err
		}
		answer, ok := r.(*saslauthenticate.Response)
		if !ok {
			return errors.New("it does not answer the login")
		}
		if answer.ErrorCode != 0 {
			return &brokerError{code: kafkago.Error(answer.ErrorCode), message: answer.ErrorMessage}
		}
		if done, say, err = session.Next(ctx, answer.AuthBytes); err != nil {
			return err
		}
	}
	return nil
}

// interruptible runs fn, which uses conn, and breaks conn off when ctx ends.
func interruptible(ctx context.Context, conn *protocol.Conn, fn func() error) error {
	stop := context.AfterFunc(ctx, func() { _ = conn.SetDeadline(time.Unix(1, 0)) }) // fn sees it
	err := fn()
	if !stop() && err == nil {
		err = ctx.Err()
	}
	return err
}

// ask sends a request to the broker at addr and returns its answer, which must be an
// R. One that only looks is repeated when its answer is lost, and others are not. An
// error is a *linkError, or says that the broker does not know the request; errors in
// the answer are the caller's to look for.
func ask[R protocol.Message](ctx context.Context, c *Conn, addr string, req protocol.Message) (answer R, err error) {
	for try := 1; ; try++ {
		answer, err = askOnce[R](ctx, c, addr, req)
		var lost *linkError
		if !errors.As(err, &lost) || !lost.sent || try == lookTries || !looks(req.ApiKey()) || ctx.Err() != nil {
			return answer, err
		}
		if err := pause(ctx, waitFirst); err != nil {
			return answer, err
		}
	}
}

// lookTries is how often a request that only looks is sent.
const lookTries = 3

// looks tells whether a request changes nothing.
func looks(key protocol.ApiKey) bool {
	return slices.Contains([]protocol.ApiKey{
		protocol.Metadata, protocol.FindCoordinator, protocol.DescribeConfigs, protocol.ListOffsets, protocol.Fetch, protocol.OffsetFetch,
		protocol.DescribeGroups, protocol.DescribeAcls, protocol.DescribeClientQuotas, protocol.DescribeUserScramCredentials,
		protocol.ListPartitionReassignments,
	}, key)
}

// askOnce is ask, once.
func askOnce[R protocol.Message](ctx context.Context, c *Conn, addr string, req protocol.Message) (answer R, err error) {
	l, err := c.take(ctx, addr)
	if err != nil {
		return answer, err
	}
	if _, ok := l.knows[req.ApiKey()]; !ok {
		c.give(addr, l)
		return answer, &brokerError{code: kafkago.UnsupportedVersion, message: fmt.Sprintf("broker %s does not understand the request %s", addr, req.ApiKey())}
	}
	ctx, cancel := context.WithTimeout(ctx, c.requestTime)
	defer cancel()
	var got protocol.Message
	err = interruptible(ctx, l.conn, func() (err error) {
		got, err = l.conn.RoundTrip(req)
		return err
	})
	if err != nil {
		_ = l.conn.Close() // it is of no use
		if cause := ctx.Err(); cause != nil {
			err = cause
		}
		return answer, &linkError{addr: addr, sent: true, err: err}
	}
	c.give(addr, l)
	answer, ok := got.(R)
	if !ok {
		return answer, fmt.Errorf("broker %s answers %T to %T", addr, got, req)
	}
	return answer, nil
}

// askAny is ask of the first bootstrap server that answers.
func askAny[R protocol.Message](ctx context.Context, c *Conn, req protocol.Message) (answer R, at string, err error) {
	var first error
	for _, at = range c.bootstrap {
		if answer, err = ask[R](ctx, c, at, req); err == nil {
			return answer, at, nil
		}
		var refused *brokerError
		if errors.As(err, &refused) || ctx.Err() != nil {
			return answer, at, err // the others would say the same
		}
		if first == nil {
			first = err
		}
	}
	return answer, at, first
}

// about asks for metadata, and that of topics if there are any.
func about(topics []string) *metadata.Request {
	if topics == nil {
		topics = []string{} // else it asks for all
	}
	return &metadata.Request{TopicNames: topics}
}

// metadataAt returns what the broker at addr knows.
func (c *Conn) metadataAt(ctx context.Context, addr string, topics ...string) (*view, error) {
	r, err := ask[*metadata.Response](ctx, c, addr, about(topics))
	if err != nil {
		return nil, err
	}
	return viewOf(r, addr), nil
}

func viewOf(r *metadata.Response, addr string) *view {
	v := &view{cluster: r.ClusterID, controller: r.ControllerID, at: addr, topics: r.Topics}
	for _, b := range r.Brokers {
		v.brokers = append(v.brokers, broker{b.NodeID, net.JoinHostPort(b.Host, strconv.Itoa(int(b.Port))), b.Rack})
	}
	slices.SortFunc(v.brokers, func(a, b broker) int { return int(a.id - b.id) })
	return v
}

// view returns what the first bootstrap server that answers knows.
func (c *Conn) view(ctx context.Context, topics ...string) (*view, error) {
	r, addr, err := askAny[*metadata.Response](ctx, c, about(topics))
	if err != nil {
		return nil, err
	}
	return viewOf(r, addr), nil
}

// everywhere tells whether every broker that is alive says yes.
func (c *Conn) everywhere(ctx context.Context, question func(ctx context.Context, addr string) (bool, error)) (bool, error) {
	v, err := c.view(ctx)
	if err != nil {
		return false, err
	}
	for _, b := range v.brokers {
		if yes, err := question(ctx, b.addr); err != nil || !yes {
			return false, err
		}
	}
	return len(v.brokers) > 0, nil
}

// controller returns the broker that is asked to change something.
func (c *Conn) controller(ctx context.Context) (string, error) {
	v, err := c.view(ctx)
	if err != nil {
		return "", err
	}
	return v.lead(), nil
}

// coordinator returns the broker that coordinates a group.
func (c *Conn) coordinator(ctx context.Context, group string) (string, error) {
	r, _, err := askAny[*findcoordinator.Response](ctx, c, &findcoordinator.Request{Key: group})
	if err != nil {
		return "", err
	}
	if err := said(r.ErrorCode, r.ErrorMessage); err != nil {
		return "", err
	}
	return net.JoinHostPort(r.Host, strconv.Itoa(int(r.Port))), nil
}
