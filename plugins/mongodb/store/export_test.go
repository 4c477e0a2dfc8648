package mongostore

import "go.mongodb.org/mongo-driver/v2/mongo"

// NewestPipeline returns the pipeline of Newest.
func NewestPipeline() mongo.Pipeline { return newestPipeline() }

// Transactions tells whether a store appends by transactions.
func Transactions(s *Store) bool { return s.transactions }
