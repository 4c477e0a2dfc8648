package twilio

import (
	"context"
	"fmt"
	"net/http"

	"github.com/flamingock/flamingock-go/plugin/sdk"
	"github.com/flamingock/flamingock-go/plugin/sdk/rest"
)

// SubmitForApproval is the payload of submitForApproval.
type SubmitForApproval struct {
	ContentTemplate string `json:"contentTemplate" desc:"its friendly name, or its SID"`
	Name            string `json:"name" desc:"for WhatsApp: small letters, digits and _"`
	Category        string `json:"category" enum:"UTILITY,MARKETING,AUTHENTICATION"`
}

func submitForApproval() sdk.Operation[*Conn] {
	type step = *sdk.Step[sdk.None, SubmitForApproval]
	// request returns the template's SID and the status of its approval; "" for none.
	request := func(ctx context.Context, c *Conn, s step) (id, status, why string, err error) {
		if id, err = rest.NewFinder(c.client, sdk.Object{}).ID(ctx, contentTemplate(), s.Payload.ContentTemplate); err != nil {
			return "", "", "", err
		}
		v, err := c.client.Get(ctx, "content/v1/Content/"+id+"/ApprovalRequests", nil)
		o, _ := v.(sdk.Object)
		return id, rest.Text(o, "whatsapp.status"), rest.Text(o, "whatsapp.rejection_reason"), err
	}
	return sdk.NewOperation(sdk.OperationSpec[*Conn, SubmitForApproval]{
		Type: "submitForApproval", Summary: "submits a template to WhatsApp; it stays in progress until people there have decided", NotTransactional: noTransactions,
		Preview: func(ctx context.Context, c *Conn, s step) (sdk.Preview, error) {
			return sdk.Preview{
				Lines: []string{fmt.Sprintf("submit template %q to WhatsApp", s.Payload.ContentTemplate)},
				Notes: []string{"it stays in progress until WhatsApp has decided, which can take a day; it cannot be withdrawn"},
			}, nil
		},
		Probe: func(ctx context.Context, c *Conn, s step) (sdk.Evidence, error) {
			_, status, _, err := request(ctx, c, s)
			switch {
			case err != nil:
				return sdk.Evidence{}, err
			case status == "approved":
				return sdk.Evidence{Kind: sdk.Applied, Detail: status}, nil
			case status == "" || status == "unsubmitted":
				return sdk.Evidence{Kind: sdk.NotApplied, Detail: "it was not submitted"}, nil
			}
			return sdk.Evidence{Kind: sdk.Partly, Detail: status}, nil
		},
		Apply: func(ctx context.Context, c *Conn, s step) error {
			ctx = rest.Showing(ctx, s)
			id, status, why, err := request(ctx, c, s)
			if err != nil {
				return err
			}
			if status == "" || status == "unsubmitted" {
				var body sdk.Object
				body.Set("name", s.Payload.Name)
				body.Set("category", s.Payload.Category)
				// A template has one request: a second one is refused.
				_, err := c.client.Do(ctx, &rest.Request{
					Method: http.MethodPost, Path: "content/v1/Content/" + id + "/ApprovalRequests/whatsapp", Body: body, Repeatable: true,
				})
				if err != nil && !rest.IsStatus(err, http.StatusConflict) {
					return err
				}
				if _, status, why, err = request(ctx, c, s); err != nil {
					return err
				}
			}
			switch status {
			case "approved":
				return nil
			case "rejected", "paused", "disabled":
				return &sdk.Error{
					Code: sdk.Conflict, Part: -1, Message: fmt.Sprintf("WhatsApp has decided on template %q: %s", s.Payload.ContentTemplate, status),
					Hint: "make another template that is as they want it: " + why,
				}
			}
			return &sdk.Error{
				Code: sdk.InProgress, Part: -1, Message: fmt.Sprintf("WhatsApp has not decided on template %q yet (%s)", s.Payload.ContentTemplate, status),
				Hint: "it can take a day",
			}
		},
	})
}
