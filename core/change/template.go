package change

import "encoding/json"

// Template describes reusable logic that a change names: what its payloads look
// like and what it can do. It comes from a plugin's metadata.
type Template struct {
	// Name is the name to use in `template:`. Aliases answer too.
	Name    string   `json:"name"`
	Aliases []string `json:"aliases,omitempty"`
	// Class is what audit entries carry as className.
	Class   string `json:"class,omitempty"`
	Summary string `json:"summary,omitempty"`
	// Drivers lists the types of target system that it works on.
	Drivers []string `json:"drivers"`
	// Simple and MultiStep tell which forms a change may have: apply and
	// rollback at the top, or a list of steps. At least one is true.
	Simple    bool `json:"simple,omitempty"`
	MultiStep bool `json:"multiStep,omitempty"`
	// RollbackRequired demands a rollback (or an inverse) for every apply.
	RollbackRequired bool `json:"rollbackRequired,omitempty"`
	// Configuration, Apply and Rollback are JSON Schemas (draft 2020-12); nil
	// Configuration forbids one, nil Rollback means that of Apply. The keyword
	// "x-sensitive": true marks a value that must come from a reference, and
	// "x-file": true a string that names a file of the project.
	Configuration json.RawMessage `json:"configuration,omitempty"`
	Apply         json.RawMessage `json:"apply"`
	Rollback      json.RawMessage `json:"rollback,omitempty"`
	// Probe: it can tell whether a step is applied. Preview: it can show what a
	// step would do. Inverse: it can compute the rollback of a step (`auto`).
	Probe   bool `json:"probe,omitempty"`
	Preview bool `json:"preview,omitempty"`
	Inverse bool `json:"inverse,omitempty"`
	// SealCaptured: captured state may hold secrets and is stored encrypted.
	SealCaptured bool `json:"sealCaptured,omitempty"`
}

// Answers tells whether t is known by name.
func (t *Template) Answers(name string) bool {
	if t.Name == name {
		return true
	}
	for _, a := range t.Aliases {
		if a == name {
			return true
		}
	}
	return false
}

// Driver describes one type of target system that a plugin can connect to.
type Driver struct {
	// Type is the word to use in `type:` of a target system or audit store.
	Type    string   `json:"type"`
	Aliases []string `json:"aliases,omitempty"`
	Summary string   `json:"summary,omitempty"`
	// Schema is the JSON Schema of its configuration, "type" left out.
	Schema json.RawMessage `json:"schema"`
	// Target and Store tell what it can be used as.
	Target bool `json:"target,omitempty"`
	Store  bool `json:"store,omitempty"`
	// StoreSchema is the schema when used as an audit store; nil means Schema.
	StoreSchema json.RawMessage `json:"storeSchema,omitempty"`
	// Transactional: it can commit a change together with a marker.
	Transactional bool `json:"transactional,omitempty"`
	// Ready: it tells before a run whether the target allows what is pending.
	Ready bool `json:"ready,omitempty"`
}
