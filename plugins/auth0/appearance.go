package auth0

import (
	"net/http"

	"github.com/flamingock/flamingock-go/plugin/sdk"
	"github.com/flamingock/flamingock-go/plugin/sdk/rest"
)

// appearance are the resources of what users see: prompts, the theme, and what is sent to
// their phones. See universalLogin for the page around the prompts.
func appearance() []*rest.Resource {
	customText := settings("customText", "the texts of a prompt in one language", "prompts/{prompt}/custom-text/{language}")
	customText.Parents = []rest.Field{{Key: "prompt"}, {Key: "language"}}
	customText.Update, customText.Replaces = http.MethodPut, true
	partials := settings("partials", "the templates that a prompt is extended with", "prompts/{prompt}/partials")
	partials.Parents = []rest.Field{{Key: "prompt"}}
	partials.Update, partials.Replaces = http.MethodPut, true
	renderer := settings("screenRenderer", "how a screen of a prompt is rendered", "prompts/{prompt}/screen/{screen}/rendering")
	renderer.Parents = []rest.Field{{Key: "prompt"}, {Key: "screen"}}
	renderer.ReadOnly = []string{"prompt", "screen", "tenant"}

	return []*rest.Resource{
		customText, partials, renderer,
		{
			// A tenant has one theme, and the API has no list of them.
			Name: "theme", Summary: "the theme of the login pages", Path: "branding/themes", ListPath: "branding/themes/default",
			ID: "themeId", Pages: plain{one: true}, Is: func(sdk.Object, map[string]any) bool { return true },
			Replaces: true, ReadOnly: []string{"themeId"},
		},
		{
			Name: "phoneProvider", Summary: "the provider of messages to phones", Path: "branding/phone/providers",
			Identity: []rest.Field{{Key: "provider", Name: "name"}}, Pages: plain{},
			ReadOnly: append([]string{"id", "channel", "tenant"}, times...), Secret: []string{"credentials.auth_token"}, Untold: []string{"credentials"},
		},
		{
			Name: "phoneTemplate", Summary: "a template of messages to phones", Path: "branding/phone/templates",
			Identity: []rest.Field{{Key: "template", Name: "type", Summary: "such as otp_verify"}}, Pages: plain{},
			ReadOnly: []string{"id", "channel", "customizable", "tenant"}, CreateOnly: []string{"type", "content.syntax"},
		},
	}
}
