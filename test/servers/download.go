package servers

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
)

// downloaded returns the path of a file that .ci/servers downloads: the one
// that the variable names, or the one of the user's cache. It is empty where
// there is none.
func downloaded(variable string, elem ...string) (string, error) {
	if path := os.Getenv(variable); path != "" {
		if _, err := os.Stat(path); err != nil {
			return "", fmt.Errorf("%s: %w", variable, err)
		}
		return filepath.Abs(path)
	}
	cache, err := os.UserCacheDir()
	if err != nil {
		return "", nil //nolint:nilerr // who has no cache has nothing in it
	}
	path := filepath.Join(append([]string{cache, "flamingock-go", "servers"}, elem...)...)
	if _, err := os.Stat(path); err != nil {
		return "", nil //nolint:nilerr // a file that cannot be seen is as good as none
	}
	return path, nil
}

// findMongod returns the path of mongod.
func findMongod() (string, error) {
	const variable = "TEST_MONGOD"
	path, err := downloaded(variable, "mongodb-6.0.5", "mongod")
	if path != "" || err != nil {
		return path, err
	}
	if path, err = exec.LookPath("mongod"); err != nil {
		return "", fmt.Errorf("mongod is not installed: download it by `make servers`, or set %s to its path: %w", variable, err)
	}
	return filepath.Abs(path)
}

// findMoto returns the path of the folder that has the Python package moto and those
// that it needs.
func findMoto() (string, error) {
	const variable = "TEST_MOTO"
	path, err := downloaded(variable, "moto-5.2.5")
	if path == "" && err == nil {
		err = fmt.Errorf("moto is not installed: download it by `make servers`, or set %s to the path of the folder that it was installed into", variable)
	}
	return path, err
}

// findDynamoDBLocal returns the path of DynamoDBLocal.jar, which has its
// libraries beside it.
func findDynamoDBLocal() (string, error) {
	const variable = "TEST_DYNAMODB_LOCAL"
	path, err := downloaded(variable, "dynamodb-local-1.25.1", "DynamoDBLocal.jar")
	if path == "" && err == nil {
		err = fmt.Errorf("DynamoDB Local is not installed: download it by `make servers`, or set %s to the path of its DynamoDBLocal.jar", variable)
	}
	return path, err
}

// findKafka returns the folder of Kafka's libraries.
func findKafka() (string, error) {
	const variable = "TEST_KAFKA_LIB"
	path, err := downloaded(variable, "kafka-4.3.1")
	if path == "" && err == nil {
		err = fmt.Errorf("Apache Kafka is not installed: download it by `make servers`, or set %s to the folder of its libraries", variable) //nolint:staticcheck // a name
	}
	return path, err
}
