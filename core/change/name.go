package change

import (
	"fmt"
	"path"
	"regexp"
	"strings"
	"unicode/utf8"
)

// fileName is what the Java implementation looks for, extension included: the
// order is as short as possible.
var fileName = regexp.MustCompile(`^_(.+?)__(.+)$`)

// isChangeFile tells whether a file of this name is read as a change.
func isChangeFile(name string) bool {
	ext := strings.ToLower(path.Ext(name))
	return ext == ".yaml" || ext == ".yml"
}

// splitName returns the order and the name that a file's name says, extension
// left out, or a problem and its mend.
func splitName(file string) (order, name, problem, fix string) {
	m := fileName.FindStringSubmatch(file)
	if m == nil {
		fix := fmt.Sprintf("rename it to %s", proposedName(file))
		if strings.HasPrefix(file, ".") {
			fix = "delete it, or " + fix
		}
		return "", "", "the file's name does not say its order", fix
	}
	order, name = m[1], strings.TrimSuffix(m[2], path.Ext(m[2]))
	if problem := orderProblem(order); problem != "" {
		return "", "", problem, fmt.Sprintf("rename it to %s", proposedName(file))
	}
	return order, name, "", ""
}

// orderProblem says what is wrong with an order; "" where nothing is.
func orderProblem(order string) string {
	letters := 0
	for _, c := range order {
		if c >= '0' && c <= '9' || c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z' {
			letters++
		}
	}
	switch {
	case letters < 3:
		return fmt.Sprintf("the order %q has fewer than three letters or digits", order)
	case utf8.RuneCountInString(order) > maxNameLength:
		return fmt.Sprintf("the order is longer than %d characters", maxNameLength)
	}
	return ""
}

// numbered is a name that starts with a number, by the habits of other tools:
// V1__x, V1.2__x, 001_x, _001_x, 20240101-x.
var numbered = regexp.MustCompile(`^[._-]*[a-zA-Z]?([0-9]+)((?:[._][0-9]+)*)[-_. ]*(.*)$`)

// proposedName returns the name that a change file should have had.
func proposedName(file string) string {
	stem := strings.TrimSuffix(file, path.Ext(file))
	number, minor, rest := "1", "", strings.TrimLeft(stem, "._- ")
	if m := numbered.FindStringSubmatch(stem); m != nil {
		number, minor, rest = m[1], strings.ReplaceAll(m[2], ".", "_"), m[3]
	}
	if len(number) < 4 {
		number = strings.Repeat("0", 4-len(number)) + number
	}
	if rest == "" {
		rest = "Name"
	}
	ext := strings.ToLower(path.Ext(file))
	if ext != ".yml" {
		ext = ".yaml"
	}
	return "_" + number + minor + "__" + rest + ext
}

// looksLikeChange tells whether a name that is not read looks like that of a
// change, also by the habits of other tools.
func looksLikeChange(name string) bool {
	return fileName.MatchString(name) || flyway.MatchString(name)
}

var flyway = regexp.MustCompile(`^[VUR][0-9._]*__.+`)
