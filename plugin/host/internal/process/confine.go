package process

// Confinement says what a process may do; what it does not name is denied where the
// kernel has the means. Reading what every program needs (libraries, certificates,
// name resolution, time zones), its socket's folder, and connections that are open
// already are always allowed; listening on TCP, and signals to processes outside, are
// not.
type Confinement struct {
	// Read and Write are absolute paths of files, or of folders with what is in them.
	// What may be written may be read. Those that do not exist are left out.
	Read, Write []string
	// Exec allows to start programs that may be read, Network to connect by TCP.
	Exec, Network bool
	// Required makes the start fail where the kernel cannot confine at all.
	Required bool
}
