package change

import (
	"cmp"
	"fmt"
	"slices"
	"strings"

	"github.com/flamingock/flamingock-go/core/diag"
)

// Sort puts the changes of one stage into the order in which they run: by the
// bytes of Order. Two changes with one order are errors; numbers that sort
// differently as text, such as 9 and 10, are a warning.
func Sort(changes []*Change) diag.Diagnostics {
	slices.SortStableFunc(changes, func(a, b *Change) int {
		return cmp.Or(strings.Compare(a.Order, b.Order), strings.Compare(a.Position.File, b.Position.File))
	})
	var problems diag.Diagnostics
	warned := false
	for i := 1; i < len(changes); i++ {
		a, b := changes[i-1], changes[i]
		if a.Order == b.Order {
			problems = append(problems, diag.Diagnostic{
				Position: whole(b), Code: "duplicate-order", Change: b.ID,
				Summary: fmt.Sprintf("the order %s is taken by the change %q too, in %s", b.Order, a.ID, whole(a)),
				Fix:     "give one of them another order",
			})
			continue
		}
		if !warned && isNumber(a.Order) && isNumber(b.Order) && smaller(b.Order, a.Order) {
			warned = true
			problems = append(problems, diag.Diagnostic{
				Severity: diag.Warning, Position: whole(b), Code: "order-width", Change: b.ID,
				Summary: fmt.Sprintf("the order %s runs after %s: orders are compared as text, from left to right", b.Order, a.Order),
				Fix:     "if that is not meant, write all orders of the stage with the same number of digits",
			})
		}
	}
	return problems
}

// whole is where c is, for a problem with its name.
func whole(c *Change) diag.Position { return diag.Position{File: c.Position.File} }

func isNumber(s string) bool { return strings.Trim(s, "0123456789") == "" }

// smaller compares two numbers written in decimal.
func smaller(a, b string) bool {
	a, b = strings.TrimLeft(a, "0"), strings.TrimLeft(b, "0")
	return len(a) < len(b) || len(a) == len(b) && a < b
}

// Duplicates reports ids that more than one change of a project has, whatever
// their stages. Ids that differ in capitals alone count as one: some databases
// compare texts so, and would take the entries of one for the other's.
func Duplicates(all []*Change) diag.Diagnostics {
	first := make(map[string]*Change, len(all))
	var problems diag.Diagnostics
	for _, c := range all {
		key := strings.ToLower(c.ID)
		other, taken := first[key]
		if !taken {
			first[key] = c
			continue
		}
		if other.ID != c.ID {
			problems = append(problems, diag.Diagnostic{
				Position: c.At("id"), Code: "duplicate-id", Change: c.ID,
				Summary: fmt.Sprintf("the ids %q and %q, at %s, differ in capitals alone", c.ID, other.ID, other.At("id")),
				Fix:     "give one of them another id: some databases cannot tell them apart",
			})
			continue
		}
		problems = append(problems, diag.Diagnostic{
			Position: c.At("id"), Code: "duplicate-id", Change: c.ID,
			Summary: fmt.Sprintf("the id %q is taken by another change, at %s", c.ID, other.At("id")),
			Fix:     "give one of them another id; the id of a change that was applied must stay",
		})
	}
	return problems
}
