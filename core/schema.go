package core

import (
	"encoding/json"

	"github.com/flamingock/flamingock-go/core/change"
	"github.com/flamingock/flamingock-go/core/run"
)

// schemaDialect is the version of JSON Schema that the schemas are written in.
const schemaDialect = "https://json-schema.org/draft/2020-12/schema"

// object is a JSON object under construction.
type object = map[string]any

// ChangeSchema returns the JSON Schema of change files, with the payloads of the
// templates that the plugins provide.
func ChangeSchema(plugins []*run.Metadata) map[string]any {
	scalar := object{"type": []string{"string", "number", "boolean"}}
	defs := object{}
	var names []string
	var rules []any
	for _, m := range plugins {
		for _, t := range m.Templates {
			all := append([]string{t.Name}, t.Aliases...)
			names = append(names, all...)
			rules = append(rules, templateRule(t, all, defs))
		}
	}
	template := object{"type": "string", "description": "The template that does the work."}
	if len(names) > 0 {
		template["enum"] = names
	}
	return object{
		"$schema":              schemaDialect,
		"title":                "Flamingock change",
		"type":                 "object",
		"additionalProperties": false,
		"required":             []string{"id", "template", "targetSystem"},
		"properties": object{
			"id":          object{"type": "string", "minLength": 1, "description": "Unique in the project; never changed once applied."},
			"author":      object{"type": "string"},
			"description": object{"type": "string"},
			"template":    template,
			"targetSystem": object{
				"description": "The target system that the change acts on.",
				"anyOf":       []any{object{"type": "string"}, object{"type": "object", "required": []string{"id"}, "additionalProperties": false, "properties": object{"id": object{"type": "string"}}}},
			},
			"recovery": object{
				"description": "What may be done where the outcome is not known.",
				"anyOf": []any{
					object{"enum": []string{string(change.ManualIntervention), string(change.AlwaysRetry)}},
					object{"type": "object", "additionalProperties": false, "properties": object{"strategy": object{"enum": []string{string(change.ManualIntervention), string(change.AlwaysRetry)}}}},
				},
			},
			"transactional": object{"type": "boolean", "description": "Demand or forbid a transaction; inferred when left out."},
			"profiles":      object{"anyOf": []any{object{"type": "string"}, object{"type": "array", "items": object{"type": "string"}}}},
			"runAlways":     object{"enum": []any{false, true, "onChange", "always"}},
			"labels":        object{"type": "object", "additionalProperties": scalar},
			"configuration": true,
			"apply":         true,
			"rollback":      true,
			"reason":        object{"type": "string"},
			"steps":         object{"type": "array", "minItems": 1},
		},
		"allOf": rules,
		"$defs": defs,
	}
}

// templateRule says what a change of one template looks like.
func templateRule(t change.Template, names []string, defs object) object {
	ref := func(kind string, schema json.RawMessage) any {
		if len(schema) == 0 {
			return true
		}
		key := t.Name + "." + kind
		defs[key] = schema
		return object{"$ref": "#/$defs/" + key}
	}
	apply := ref("apply", t.Apply)
	rollback := apply
	if len(t.Rollback) > 0 {
		rollback = ref("rollback", t.Rollback)
	}
	modes := []any{"none"}
	if t.Inverse {
		modes = append(modes, "auto")
	}
	back := object{"anyOf": []any{object{"enum": modes}, rollback}}
	props := object{"apply": apply, "rollback": back}
	if len(t.Configuration) > 0 {
		props["configuration"] = ref("configuration", t.Configuration)
	} else {
		props["configuration"] = object{"type": "object", "maxProperties": 0}
	}
	props["steps"] = object{"items": object{
		"type": "object", "additionalProperties": false, "required": []string{"apply"},
		"properties": object{"apply": apply, "rollback": back, "reason": object{"type": "string"}},
	}}
	then := object{"properties": props}
	var forms []any
	if t.Simple {
		forms = append(forms, object{"required": []string{"apply"}, "not": object{"required": []string{"steps"}}})
	}
	if t.MultiStep {
		forms = append(forms, object{"required": []string{"steps"}, "not": object{"anyOf": []any{
			object{"required": []string{"apply"}}, object{"required": []string{"rollback"}},
		}}})
	}
	if len(forms) > 0 {
		then["anyOf"] = forms
	}
	return object{
		"if":   object{"properties": object{"template": object{"enum": names}}, "required": []string{"template"}},
		"then": then,
	}
}

// ProjectSchema returns the JSON Schema of the project file, with the
// configurations of the drivers that the plugins provide.
func ProjectSchema(plugins []*run.Metadata) map[string]any {
	text := object{"type": "string"}
	var targetTypes, storeTypes []string
	var targetRules, storeRules []any
	storeTypes = append(storeTypes, "sqlite")
	for _, m := range plugins {
		for _, d := range m.Drivers {
			all := append([]string{d.Type}, d.Aliases...)
			if d.Target {
				targetTypes = append(targetTypes, all...)
				targetRules = append(targetRules, driverRule(all, d.Schema))
			}
			if d.Store {
				storeTypes = append(storeTypes, all...)
				schema := d.StoreSchema
				if len(schema) == 0 {
					schema = d.Schema
				}
				storeRules = append(storeRules, driverRule(all, schema))
			}
		}
	}
	kind := func(names []string) object {
		if len(names) == 0 {
			return text
		}
		return object{"type": "string", "examples": names}
	}
	return object{
		"$schema": schemaDialect, "title": "Flamingock project", "type": "object", "additionalProperties": false,
		"properties": object{
			"service":  object{"type": "string", "description": "Names the application in the lock and the audit trail."},
			"profiles": object{"anyOf": []any{text, object{"type": "array", "items": text}}},
			"plugins": object{"type": "object", "additionalProperties": object{"type": "object", "additionalProperties": false, "properties": object{
				"source": text, "version": text, "env": object{"type": "array", "items": text, "description": "The variables that its process gets, in place of those that it asks for."},
			}}},
			"pluginDir":  text,
			"packages":   object{"type": "object", "additionalProperties": text, "description": "Folders of Java packages that a pipeline names."},
			"vars":       object{"type": "object", "description": "Values of ${var:name} references."},
			"metadata":   object{"type": "object", "additionalProperties": text},
			"outOfOrder": object{"enum": []string{"warn", "allow", "refuse"}},
			"yaml":       object{"enum": []string{"1.1", "1.2"}},
			"actor":      text,
			"cache":      object{"type": "boolean"},
			"secretSinks": object{"type": "object", "description": "Where secrets go that a target system gives only once.", "additionalProperties": object{
				"type": "object", "additionalProperties": false, "minProperties": 1, "maxProperties": 1,
				"properties": object{"directory": text, "command": object{"type": "array", "items": text, "minItems": 1}},
			}},
			"registry": object{"type": "object", "description": "Where plugins come from and whom to trust.", "additionalProperties": false, "properties": object{
				"mirrors":    list(object{"source": text, "to": text}, "source", "to"),
				"trust":      list(object{"source": text, "mode": object{"enum": []string{"enforce", "warn", "firstUse", "off"}}, "keys": object{"type": "array", "items": text}}, "source", "mode"),
				"registries": list(object{"host": text, "plainHTTP": object{"type": "boolean"}, "caFile": text}, "host"),
				"catalogs":   object{"type": "array", "items": text},
			}},
			"lock": object{"type": "object", "additionalProperties": false, "properties": object{"lease": text, "wait": text}},
			"auditStore": object{"type": "object", "allOf": storeRules, "properties": object{
				"type": kind(storeTypes), "plugin": text, "lockKey": text, "timeZone": text, "encryptionKey": text,
			}},
			"targetSystems": object{"type": "object", "additionalProperties": object{
				"type": "object", "required": []string{"type"}, "properties": object{"type": kind(targetTypes)}, "allOf": targetRules,
			}},
			"pipeline": object{"anyOf": []any{text, object{
				"type": "object", "additionalProperties": false, "required": []string{"stages"},
				"properties": object{"stages": object{"type": "array", "minItems": 1, "items": object{
					"type": "object", "additionalProperties": false, "required": []string{"location"},
					"properties": object{
						"name": text, "description": text, "location": text, "type": text,
						"needs": object{"type": "array", "items": text},
					},
				}}},
			}}},
		},
	}
}

// list is a list of objects with these keys.
func list(properties object, required ...string) object {
	return object{"type": "array", "items": object{
		"type": "object", "additionalProperties": false, "properties": properties, "required": required,
	}}
}

// driverRule checks the configuration of one driver. The keys are the driver's
// and those of the engine, so unknown ones are not refused here but on load.
func driverRule(names []string, schema json.RawMessage) object {
	var s map[string]any
	if json.Unmarshal(schema, &s) != nil {
		s = object{}
	}
	delete(s, "additionalProperties")
	delete(s, "$schema")
	return object{
		"if":   object{"properties": object{"type": object{"enum": names}}, "required": []string{"type"}},
		"then": s,
	}
}
