package sqlstore

import "fmt"

// NewestQuery returns the query of Newest.
func NewestQuery(s *Store) string { return fmt.Sprintf(s.d.newest, selected(), s.audit) }
