package build

import (
	"bytes"
	"debug/buildinfo"
	"encoding/json"
	"fmt"
	"runtime/debug"
	"slices"
	"strings"

	"github.com/opencontainers/go-digest"

	"github.com/flamingock/flamingock-go/registry"
	"github.com/flamingock/flamingock-go/registry/artifact"
)

// Media types of what is said about a version.
const (
	typeSPDX       = "application/spdx+json"
	typeProvenance = "application/vnd.in-toto+json"
)

// epoch is the time that statements carry: a build is the same whenever it is made.
const epoch = "1970-01-01T00:00:00Z"

// program is one program that was built.
type program struct {
	platform artifact.Platform
	data     []byte
}

func (p program) digest() digest.Digest { return digest.FromBytes(p.data) }

// statements returns the SBOM and the provenance of a version.
func statements(p artifact.Package, programs []program, s source) ([]registry.Attachment, error) {
	slices.SortFunc(programs, func(a, b program) int { return strings.Compare(a.platform.String(), b.platform.String()) })
	var out []registry.Attachment
	modules, goVersion := modulesOf(programs)
	if goVersion != "" {
		sbom, err := json.MarshalIndent(spdx(p, programs, modules), "", " ")
		if err != nil {
			return nil, fmt.Errorf("write the SBOM: %w", err)
		}
		out = append(out, registry.Attachment{Type: typeSPDX, Name: "sbom.spdx.json", Content: sbom})
	}
	provenance, err := json.MarshalIndent(provenanceOf(p, programs, s, goVersion), "", " ")
	if err != nil {
		return nil, fmt.Errorf("write the provenance: %w", err)
	}
	return append(out, registry.Attachment{Type: typeProvenance, Name: "provenance.intoto.json", Content: provenance}), nil
}

// modulesOf returns the modules in Go programs, and the version of Go; "" where they
// are not Go.
func modulesOf(programs []program) (modules []*debug.Module, goVersion string) {
	seen := map[string]bool{}
	for _, p := range programs {
		info, err := buildinfo.Read(bytes.NewReader(p.data))
		if err != nil {
			return nil, ""
		}
		goVersion = info.GoVersion
		for _, m := range info.Deps {
			if m.Replace != nil {
				m = m.Replace
			}
			if key := m.Path + "@" + m.Version; !seen[key] {
				seen[key] = true
				modules = append(modules, m)
			}
		}
	}
	slices.SortFunc(modules, func(a, b *debug.Module) int { return strings.Compare(a.Path+"@"+a.Version, b.Path+"@"+b.Version) })
	return modules, goVersion
}

type object = map[string]any

// spdx is the list of what is inside, as SPDX 2.3 (spdx.github.io/spdx-spec/v2.3).
func spdx(p artifact.Package, programs []program, modules []*debug.Module) object {
	root := "SPDXRef-Package-plugin"
	packages := []object{{
		"SPDXID": root, "name": artifact.Prefix + p.Name, "versionInfo": p.Version, "downloadLocation": "NOASSERTION",
		"filesAnalyzed": false, "licenseConcluded": "NOASSERTION", "licenseDeclared": "NOASSERTION", "copyrightText": "NOASSERTION",
	}}
	relations := []object{{"spdxElementId": "SPDXRef-DOCUMENT", "relationshipType": "DESCRIBES", "relatedSpdxElement": root}}
	for i, m := range modules {
		id := fmt.Sprintf("SPDXRef-Package-%d", i+1)
		packages = append(packages, object{
			"SPDXID": id, "name": m.Path, "versionInfo": m.Version, "downloadLocation": "NOASSERTION",
			"filesAnalyzed": false, "licenseConcluded": "NOASSERTION", "licenseDeclared": "NOASSERTION", "copyrightText": "NOASSERTION",
			"externalRefs": []object{{
				"referenceCategory": "PACKAGE-MANAGER", "referenceType": "purl", "referenceLocator": "pkg:golang/" + m.Path + "@" + m.Version,
			}},
		})
		relations = append(relations, object{"spdxElementId": root, "relationshipType": "DEPENDS_ON", "relatedSpdxElement": id})
	}
	var all strings.Builder
	for _, one := range programs {
		all.WriteString(one.digest().String())
	}
	return object{
		"spdxVersion": "SPDX-2.3", "dataLicense": "CC0-1.0", "SPDXID": "SPDXRef-DOCUMENT", "name": artifact.Prefix + p.Name + "-" + p.Version,
		"documentNamespace": "https://spdx.org/spdxdocs/" + artifact.Prefix + p.Name + "-" + digest.FromString(all.String()).Encoded(),
		"creationInfo":      object{"created": epoch, "creators": []string{"Tool: flamingock"}},
		"packages":          packages, "relationships": relations,
	}
}

// provenanceOf says how it was built, as SLSA 1.0 (slsa.dev/spec/v1.0/provenance) in an
// in-toto statement. Nobody but the builder vouches for it.
func provenanceOf(p artifact.Package, programs []program, s source, goVersion string) object {
	var subjects []object
	for _, one := range programs {
		subjects = append(subjects, object{
			"name": one.platform.File(p.Name) + " (" + one.platform.String() + ")", "digest": object{"sha256": one.digest().Encoded()},
		})
	}
	inputs := []object{}
	if s.revision != "" {
		inputs = append(inputs, object{"uri": "git+" + s.url, "digest": object{"gitCommit": s.revision}, "annotations": object{"changed": s.dirty}})
	}
	if goVersion != "" {
		inputs = append(inputs, object{"uri": "pkg:generic/go@" + strings.TrimPrefix(goVersion, "go")})
	}
	return object{
		"_type": "https://in-toto.io/Statement/v1", "subject": subjects, "predicateType": "https://slsa.dev/provenance/v1",
		"predicate": object{
			"buildDefinition": object{
				"buildType":            "https://github.com/flamingock/flamingock-go/plugin-build@v1",
				"externalParameters":   object{"name": p.Name, "version": p.Version},
				"resolvedDependencies": inputs,
			},
			"runDetails": object{"builder": object{"id": "https://github.com/flamingock/flamingock-go/cmd/host"}},
		},
	}
}
