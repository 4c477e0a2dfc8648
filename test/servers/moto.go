package servers

import (
	"context"
	"strconv"
	"syscall"
)

// moto imitates DynamoDB in Python: it has the tags, backups, policies and imports
// that DynamoDB Local has not, and it believes everybody.
func moto() (recipe, error) {
	library, err := findMoto()
	if err != nil {
		return recipe{}, err
	}
	python, err := find("python3", "python3")
	if err != nil {
		return recipe{}, err
	}
	return recipe{
		kind:       Moto, // it may run as root
		initialize: func(context.Context, string, *account) error { return nil },
		command: func(_ string, port int) []string {
			return []string{
				python, "-I", "-B", "-c", "import sys; sys.path.insert(0, sys.argv[1]); from moto.server import main; main(sys.argv[2:])",
				library, "-H", "127.0.0.1", "-p", strconv.Itoa(port),
			}
		},
		ping: func(ctx context.Context, _ string, port int) error { return listTables(ctx, dynamoDBAddress(port)) },
		// One process with nothing outside its directory.
		end: syscall.SIGKILL,
		env: func(port int) []string { return []string{"TEST_MOTO_ENDPOINT=" + dynamoDBAddress(port)} },
	}, nil
}
