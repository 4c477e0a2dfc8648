package kafka

// registryType is what schema registries speak.
const registryType = "application/vnd.schemaregistry.v1+json"
