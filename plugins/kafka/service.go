package kafka

import (
	"bytes"
	"context"
	"crypto/tls"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"time"

	"github.com/flamingock/flamingock-go/plugin/sdk"
	"github.com/flamingock/flamingock-go/plugin/sdk/rest"
)

// longestAnswer bounds an answer of a service.
const longestAnswer = 16 << 20

// client makes a client of the service, which is called name and speaks mediaType.
func (s *Service) client(name, mediaType string, limit time.Duration) (*rest.Client, error) {
	base, err := url.Parse(s.URL)
	if err != nil || base.Host == "" || base.Scheme != "http" && base.Scheme != "https" {
		return nil, sdk.Errorf(sdk.Invalid, "the url of the %s is no URL of the form http(s)://host:port", name)
	}
	if base.User != nil {
		return nil, sdk.Errorf(sdk.Invalid, "write username and password of the %s beside its url, and not into it", name)
	}
	pool, err := believed("the caCert of the "+name, s.CACert)
	if err != nil {
		return nil, err
	}
	transport, ok := http.DefaultTransport.(*http.Transport)
	if !ok {
		return nil, errors.New("http.DefaultTransport is not what it was")
	}
	transport = transport.Clone()
	transport.TLSClientConfig = &tls.Config{RootCAs: pool, MinVersion: tls.VersionTLS12}
	client := &http.Client{Transport: transport, Timeout: limit}
	login := *s
	return &rest.Client{
		Patience: limit,
		Send: func(ctx context.Context, r *rest.Request) (*rest.Response, error) {
			var body io.Reader
			if r.Body != nil {
				encoded, err := json.Marshal(r.Body)
				if err != nil {
					return nil, fmt.Errorf("encode the request: %w", err)
				}
				body = bytes.NewReader(encoded)
			}
			address := strings.TrimSuffix(s.URL, "/") + r.Path
			if len(r.Query) > 0 {
				address += "?" + r.Query.Encode()
			}
			req, err := http.NewRequestWithContext(ctx, r.Method, address, body)
			if err != nil {
				return nil, err
			}
			req.Header.Set("Content-Type", mediaType)
			req.Header.Set("Accept", mediaType+", application/json")
			switch {
			case login.Token != "":
				req.Header.Set("Authorization", "Bearer "+login.Token.Reveal())
			case login.Username != "":
				req.SetBasicAuth(login.Username, login.Password.Reveal())
			}
			resp, err := client.Do(req)
			if err != nil {
				return nil, err
			}
			defer func() { _ = resp.Body.Close() }() // it was read
			content, err := io.ReadAll(io.LimitReader(resp.Body, longestAnswer))
			if err != nil {
				return nil, err
			}
			return &rest.Response{Status: resp.StatusCode, Header: resp.Header, Body: content}, nil
		},
		Explain: func(r *rest.Response, e *sdk.Error) {
			// Both services answer so.
			var said struct {
				Code    int    `json:"error_code"`
				Message string `json:"message"`
			}
			if json.Unmarshal(r.Body, &said) != nil {
				return
			}
			e.Message = name + ": " + said.Message
			if said.Code != 0 {
				e.TargetCode = strconv.Itoa(said.Code)
			}
			if e.Code == sdk.Permission {
				e.Hint = "are username and password, or token, of the " + name + " right?"
			}
		},
	}, nil
}

// object sends r and returns the object that answers it.
func object(ctx context.Context, c *rest.Client, r *rest.Request) (sdk.Object, error) {
	resp, err := c.Do(ctx, r)
	if err != nil {
		return sdk.Object{}, err
	}
	v, err := resp.JSON()
	if err != nil {
		return sdk.Object{}, fmt.Errorf("%s: %w", r, err)
	}
	o, _ := v.(sdk.Object)
	return o, nil
}

// escape escapes a part of a path.
func escape(text string) string { return url.PathEscape(text) }
