package twilio

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"net/url"
	"strings"

	"github.com/flamingock/flamingock-go/plugin/sdk"
	"github.com/flamingock/flamingock-go/plugin/sdk/rest"
)

// PurchasePhoneNumber is the payload of purchasePhoneNumber.
type PurchasePhoneNumber struct {
	Name         string      `json:"friendlyName" desc:"tells the number apart; there must be one with this name at most"`
	Country      string      `json:"country,omitempty" desc:"such as GB"`
	Kind         string      `json:"numberType,omitempty" enum:"Local,Mobile,TollFree" default:"Local"`
	PhoneNumber  string      `json:"phoneNumber,omitempty" desc:"this number, in place of one that is looked for"`
	Contains     string      `json:"contains,omitempty" desc:"digits, letters and * that the number has"`
	AreaCode     string      `json:"areaCode,omitempty"`
	Capabilities []string    `json:"capabilities,omitempty" enum:"Sms,Mms,Voice,Fax"`
	Set          *sdk.Object `json:"set,omitempty" desc:"what the number gets, such as sms_url or address_sid"`
	AllowLoss    bool        `json:"allowDataLoss,omitempty" desc:"rollback: auto may release the number, which is then lost"`
}

type purchaseStep = *sdk.Step[sdk.None, PurchasePhoneNumber]

// candidate is what the step saves before it buys: the number that it is going to
// have.
type candidate struct {
	PhoneNumber string `json:"phoneNumber"`
}

// owned returns the number with this friendly name; nil where there is none.
func owned(ctx context.Context, c *Conn, name string) (*sdk.Object, error) {
	var found []sdk.Object
	err := c.client.List(ctx, nil, accountPath+"/IncomingPhoneNumbers", url.Values{"FriendlyName": {name}}, func(o sdk.Object) bool {
		if rest.Text(o, "friendly_name") == name {
			found = append(found, o)
		}
		return true
	})
	switch {
	case err != nil || len(found) == 0:
		return nil, err
	case len(found) > 1:
		return nil, &sdk.Error{
			Code: sdk.Conflict, Part: -1, Clean: true, Message: fmt.Sprintf("there are %d phone numbers with the name %q", len(found), name), Hint: "rename all but one",
		}
	}
	return &found[0], nil
}

// numberOwned returns a number by itself; nil where the account does not have it.
func numberOwned(ctx context.Context, c *Conn, number string) (*sdk.Object, error) {
	var found *sdk.Object
	err := c.client.List(ctx, nil, accountPath+"/IncomingPhoneNumbers", url.Values{"PhoneNumber": {number}}, func(o sdk.Object) bool {
		if rest.Text(o, "phone_number") == number {
			found = &o
		}
		return found == nil
	})
	return found, err
}

func purchasePhoneNumber() sdk.Operation[*Conn] {
	return sdk.NewOperation(sdk.OperationSpec[*Conn, PurchasePhoneNumber]{
		Type: "purchasePhoneNumber", Summary: "buys a phone number; needs allowPurchases", NotTransactional: noTransactions,
		Check: func(c *sdk.Check[sdk.None, PurchasePhoneNumber]) {
			for _, s := range c.Steps {
				if s.Apply.PhoneNumber == "" && s.Apply.Country == "" {
					c.Report(sdk.Diagnostic{
						Field: sdk.FieldApply, Step: s.Index, Code: "no-country", Summary: "neither a number nor a country to look in is given", Fix: "write `country: GB`, or `phoneNumber: +44…`",
					})
				}
				if s.Auto {
					c.Irreversible("a number that is released may be somebody else's the next day")
				}
			}
		},
		Preview: func(ctx context.Context, c *Conn, s purchaseStep) (sdk.Preview, error) {
			had, err := owned(ctx, c, s.Payload.Name)
			if err != nil {
				return sdk.Preview{}, err
			}
			if had != nil {
				return sdk.Preview{Lines: []string{fmt.Sprintf("nothing: %s is there, %s", s.Payload.Name, rest.Text(*had, "phone_number"))}}, nil
			}
			out := sdk.Preview{Lines: []string{"buy a phone number"}, Notes: []string{"it costs money every month"}}
			if !c.config.AllowPurchases {
				out.Notes = append(out.Notes, "the target system does not say allowPurchases, so this will fail")
			}
			return out, nil
		},
		Probe: func(ctx context.Context, c *Conn, s purchaseStep) (sdk.Evidence, error) {
			had, err := owned(ctx, c, s.Payload.Name)
			switch {
			case err != nil:
				return sdk.Evidence{}, err
			case had != nil:
				return sdk.Evidence{Kind: sdk.Applied, Detail: "it is " + rest.Text(*had, "phone_number")}, nil
			case s.Saved != nil:
				return sdk.Evidence{Kind: sdk.Partly, Detail: "a number was chosen"}, nil
			}
			return sdk.Evidence{Kind: sdk.NotApplied, Detail: "there is no number with this name"}, nil
		},
		Capture: func(ctx context.Context, c *Conn, s purchaseStep) ([]byte, error) {
			had, err := owned(ctx, c, s.Payload.Name)
			if err != nil || had == nil {
				return []byte("{}"), err
			}
			return json.Marshal(candidate{rest.Text(*had, "phone_number")})
		},
		Apply: buy,
		Inverse: func(ctx context.Context, c *Conn, s purchaseStep, captured []byte) error {
			var was candidate
			if err := json.Unmarshal(captured, &was); err != nil {
				return sdk.Errorf(sdk.Internal, "what was captured before the change cannot be read: %w", err)
			}
			had, err := owned(ctx, c, s.Payload.Name)
			if err != nil || had == nil || was.PhoneNumber != "" || s.Saved == nil {
				return err
			}
			if !s.Payload.AllowLoss {
				return &sdk.Error{
					Code: sdk.Conflict, Part: -1, Message: fmt.Sprintf("release %s: the number would be lost", rest.Text(*had, "phone_number")),
					Hint: "write `allowDataLoss: true` where that is meant, or keep it",
				}
			}
			return release(ctx, c, rest.Text(*had, "sid"))
		},
	})
}

func buy(ctx context.Context, c *Conn, s purchaseStep) error {
	p := &s.Payload
	ctx = rest.Showing(ctx, s)
	had, err := owned(ctx, c, p.Name)
	if err != nil || had != nil {
		return err
	}
	if err := c.config.purchase(fmt.Sprintf("buy the phone number %q", p.Name)); err != nil {
		return err
	}
	var chosen candidate
	if s.Saved != nil {
		if err := json.Unmarshal(s.Saved, &chosen); err != nil {
			return sdk.Errorf(sdk.Internal, "what the step saved cannot be read: %w", err)
		}
		// An earlier run may have bought it, and not lived to see that.
		if bought, err := numberOwned(ctx, c, chosen.PhoneNumber); err != nil || bought != nil {
			return err
		}
	}
	const tries = 5
	for range tries {
		if chosen.PhoneNumber, err = choose(ctx, c, p); err != nil {
			return err
		}
		state, err := json.Marshal(chosen)
		if err != nil {
			return err
		}
		if err := s.Save(ctx, state); err != nil {
			return err
		}
		body := url.Values{}
		if p.Set != nil {
			set, err := rest.NewFinder(c.client, sdk.Object{}).Resolve(ctx, *p.Set)
			if err != nil {
				return err
			}
			fields, _ := set.(sdk.Object)
			body, _ = form(nil, nil)(fields).(url.Values)
		}
		body.Set("PhoneNumber", chosen.PhoneNumber)
		body.Set("FriendlyName", p.Name)
		_, err = c.client.Do(ctx, &rest.Request{Method: http.MethodPost, Path: accountPath + "/IncomingPhoneNumbers", Body: body})
		switch {
		case err == nil:
			return nil
		case taken(err) && p.PhoneNumber == "":
			continue // somebody was faster; another one
		}
		if _, err = c.client.Lost(ctx, err, func(ctx context.Context) (string, error) {
			o, err := numberOwned(ctx, c, chosen.PhoneNumber)
			if err != nil || o == nil {
				return "", err
			}
			return rest.Text(*o, "sid"), nil
		}, func(context.Context) (string, error) { return "", nil }); err != nil {
			return err
		}
		if bought, err := numberOwned(ctx, c, chosen.PhoneNumber); err != nil || bought != nil {
			return err
		}
	}
	return sdk.Errorf(sdk.Transient, "buy the phone number %q: none could be had in %d tries", p.Name, tries)
}

// taken tells whether a number is not to be had (any more).
func taken(err error) bool {
	return rest.IsStatus(err, http.StatusBadRequest) && (strings.Contains(err.Error(), "21422") || strings.Contains(err.Error(), "21452"))
}

// choose looks for a number that can be bought.
func choose(ctx context.Context, c *Conn, p *PurchasePhoneNumber) (string, error) {
	if p.PhoneNumber != "" {
		return p.PhoneNumber, nil
	}
	query := url.Values{"PageSize": {"20"}}
	for key, value := range map[string]string{"Contains": p.Contains, "AreaCode": p.AreaCode} {
		if value != "" {
			query.Set(key, value)
		}
	}
	for _, capability := range p.Capabilities {
		query.Set(capability+"Enabled", "true")
	}
	number := ""
	err := c.client.List(ctx, nil, accountPath+"/AvailablePhoneNumbers/"+url.PathEscape(p.Country)+"/"+p.Kind, query, func(o sdk.Object) bool {
		number = rest.Text(o, "phone_number")
		return number == ""
	})
	if err == nil && number == "" {
		err = &sdk.Error{
			Code: sdk.NotFound, Part: -1, Clean: true, Message: fmt.Sprintf("there is no %s number in %s that fits", p.Kind, p.Country), Hint: "ask for less, or for another type",
		}
	}
	return number, err
}

func release(ctx context.Context, c *Conn, id string) error {
	_, err := c.client.Do(ctx, &rest.Request{Method: http.MethodDelete, Path: accountPath + "/IncomingPhoneNumbers/" + id})
	if rest.IsStatus(err, http.StatusNotFound) {
		return nil
	}
	return err
}

// ReleasePhoneNumber is the payload of releasePhoneNumber.
type ReleasePhoneNumber struct {
	PhoneNumber  string `json:"phoneNumber"`
	AllowDestroy bool   `json:"allowDestroy,omitempty" desc:"must be true: the number is lost"`
}

func releasePhoneNumber() sdk.Operation[*Conn] {
	type step = *sdk.Step[sdk.None, ReleasePhoneNumber]
	return sdk.NewOperation(sdk.OperationSpec[*Conn, ReleasePhoneNumber]{
		Type: "releasePhoneNumber", Summary: "gives a phone number up", NotTransactional: noTransactions, Removes: true,
		Check: func(c *sdk.Check[sdk.None, ReleasePhoneNumber]) {
			for _, s := range c.Steps {
				if !s.Apply.AllowDestroy {
					c.Report(sdk.Diagnostic{
						Field: sdk.FieldApply, Step: s.Index, Code: "destroys", Summary: s.Apply.PhoneNumber + " would be lost", Fix: "add `allowDestroy: true` where that is meant",
					})
				}
			}
		},
		Preview: func(_ context.Context, _ *Conn, s step) (sdk.Preview, error) {
			return sdk.Preview{Lines: []string{"release " + s.Payload.PhoneNumber}, Notes: []string{"the number is lost, and cannot be had back"}}, nil
		},
		Probe: func(ctx context.Context, c *Conn, s step) (sdk.Evidence, error) {
			had, err := numberOwned(ctx, c, s.Payload.PhoneNumber)
			switch {
			case err != nil:
				return sdk.Evidence{}, err
			case had == nil:
				return sdk.Evidence{Kind: sdk.Applied, Detail: "the account does not have it"}, nil
			}
			return sdk.Evidence{Kind: sdk.NotApplied, Detail: "the account has it"}, nil
		},
		Apply: func(ctx context.Context, c *Conn, s step) error {
			ctx = rest.Showing(ctx, s)
			if err := c.config.protected("phoneNumber", s.Payload.PhoneNumber); err != nil {
				return err
			}
			had, err := numberOwned(ctx, c, s.Payload.PhoneNumber)
			if err != nil || had == nil {
				return err
			}
			return release(ctx, c, rest.Text(*had, "sid"))
		},
	})
}
