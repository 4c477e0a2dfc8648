package process

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"sync"
	"unsafe"

	"golang.org/x/sys/unix"
)

// The rights of Landlock, by the version of its interface that has them first. See
// https://docs.kernel.org/userspace-api/landlock.html.
const (
	readFile = unix.LANDLOCK_ACCESS_FS_READ_FILE
	readDir  = unix.LANDLOCK_ACCESS_FS_READ_DIR
	execute  = unix.LANDLOCK_ACCESS_FS_EXECUTE
	write    = unix.LANDLOCK_ACCESS_FS_WRITE_FILE | unix.LANDLOCK_ACCESS_FS_REMOVE_DIR | unix.LANDLOCK_ACCESS_FS_REMOVE_FILE |
		unix.LANDLOCK_ACCESS_FS_MAKE_CHAR | unix.LANDLOCK_ACCESS_FS_MAKE_DIR | unix.LANDLOCK_ACCESS_FS_MAKE_REG |
		unix.LANDLOCK_ACCESS_FS_MAKE_SOCK | unix.LANDLOCK_ACCESS_FS_MAKE_FIFO | unix.LANDLOCK_ACCESS_FS_MAKE_BLOCK |
		unix.LANDLOCK_ACCESS_FS_MAKE_SYM
	// Of a file, and not of a folder.
	ofFile = readFile | execute | unix.LANDLOCK_ACCESS_FS_WRITE_FILE | unix.LANDLOCK_ACCESS_FS_TRUNCATE | unix.LANDLOCK_ACCESS_FS_IOCTL_DEV
)

// The versions in which rights and attributes came.
const (
	versionRefer    = 2
	versionTruncate = 3
	versionNetwork  = 4
	versionIoctl    = 5
	versionScope    = 6
)

// KernelLevel returns the version of Landlock that the kernel has; 0 is none.
var KernelLevel = sync.OnceValue(func() int {
	version, _, errno := unix.Syscall(unix.SYS_LANDLOCK_CREATE_RULESET, 0, 0, unix.LANDLOCK_CREATE_RULESET_VERSION)
	if errno != 0 {
		return 0
	}
	return int(version) //nolint:gosec // a small number
})

// readable is what every program may read. What /proc says of processes is not: there
// are variables of others.
var readable = []string{
	"/usr", "/bin", "/sbin", "/lib", "/lib32", "/lib64", "/nix/store", "/gnu/store",
	"/proc/sys", "/proc/cpuinfo", "/proc/meminfo", "/proc/stat", "/proc/filesystems", "/proc/version", "/proc/uptime", "/proc/loadavg",
	"/sys/kernel/mm/transparent_hugepage", "/sys/devices/system/cpu",
	"/dev/null", "/dev/zero", "/dev/random", "/dev/urandom",
	"/etc/ssl", "/etc/pki", "/etc/ca-certificates", "/etc/crypto-policies", "/etc/krb5.conf", "/etc/krb5.conf.d",
	"/etc/resolv.conf", "/etc/hosts", "/etc/host.conf", "/etc/nsswitch.conf", "/etc/gai.conf", "/etc/services", "/etc/protocols",
	"/etc/localtime", "/etc/timezone", "/etc/passwd", "/etc/group", "/etc/ld.so.cache", "/etc/mime.types", "/etc/alternatives",
	"/run/systemd/resolve", "/run/resolvconf", "/run/nscd", "/var/lib/ca-certificates",
}

// loaders are the programs that load others.
var loaders = []string{"/lib64/ld-*", "/lib/ld-*", "/lib/*-linux-*/ld-*"}

// startConfined starts the command with no more rights than c has.
func (p *Process) startConfined(c *Confinement) error {
	version := KernelLevel()
	if version == 0 {
		if c.Required {
			return errors.New("it must be confined, and this kernel has no Landlock, or has it turned off")
		}
		return p.cmd.Start()
	}
	ruleset, err := p.ruleset(c, version)
	if err != nil {
		return fmt.Errorf("confine it: %w", err)
	}
	defer unix.Close(ruleset) //nolint:errcheck // nothing was written
	return onLostThread(func() error {
		err := unix.Prctl(unix.PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0)
		if err == nil {
			if _, _, errno := unix.Syscall(unix.SYS_LANDLOCK_RESTRICT_SELF, uintptr(ruleset), 0, 0); errno != 0 { //nolint:gosec // a file descriptor
				err = errno
			}
		}
		if err != nil {
			return fmt.Errorf("confine it: %w", err)
		}
		return p.cmd.Start()
	})
}

// onLostThread calls f on a thread that ends afterwards, so that f may restrict it: only
// that thread, and what it starts. It is never the first one of this process, which would
// not end, and by whose restrictions the kernel judges who may signal the process or look
// into it.
func onLostThread(f func() error) error {
	result := make(chan error, 1)
	go func() {
		runtime.LockOSThread()
		if unix.Gettid() == unix.Getpid() {
			// While this waits, the first thread cannot be taken again.
			defer runtime.UnlockOSThread()
			result <- onLostThread(f)
			return
		}
		result <- f() // nobody unlocks the thread: it ends with this goroutine
	}()
	return <-result
}

// ruleset makes the rules. The caller closes it.
func (p *Process) ruleset(c *Confinement, version int) (int, error) {
	attr := unix.LandlockRulesetAttr{Handled_access_fs: readFile | readDir | execute | write}
	size := unsafe.Sizeof(attr.Handled_access_fs)
	if version >= versionRefer {
		attr.Handled_access_fs |= unix.LANDLOCK_ACCESS_FS_REFER
	}
	if version >= versionTruncate {
		attr.Handled_access_fs |= unix.LANDLOCK_ACCESS_FS_TRUNCATE
	}
	if version >= versionIoctl {
		attr.Handled_access_fs |= unix.LANDLOCK_ACCESS_FS_IOCTL_DEV
	}
	if version >= versionNetwork {
		attr.Handled_access_net = unix.LANDLOCK_ACCESS_NET_BIND_TCP
		if !c.Network {
			attr.Handled_access_net |= unix.LANDLOCK_ACCESS_NET_CONNECT_TCP
		}
		size = unsafe.Offsetof(attr.Scoped)
	}
	if version >= versionScope {
		attr.Scoped = unix.LANDLOCK_SCOPE_ABSTRACT_UNIX_SOCKET | unix.LANDLOCK_SCOPE_SIGNAL
		size = unsafe.Offsetof(attr.Quiet_access_fs)
	}
	fd, _, errno := unix.Syscall(unix.SYS_LANDLOCK_CREATE_RULESET, uintptr(unsafe.Pointer(&attr)), size, 0) //nolint:gosec // a system call
	if errno != 0 {
		return -1, fmt.Errorf("make rules: %w", errno)
	}
	r := rules{fd: int(fd), handled: attr.Handled_access_fs} //nolint:gosec // a file descriptor
	read := uint64(readFile | readDir)
	if c.Exec {
		read |= execute
	}
	for _, path := range slices.Concat(readable, c.Read) {
		r.allow(path, read)
	}
	everything := r.handled &^ (execute | unix.LANDLOCK_ACCESS_FS_MAKE_CHAR | unix.LANDLOCK_ACCESS_FS_MAKE_BLOCK)
	for _, path := range slices.Concat(c.Write, []string{p.dir}) {
		r.allow(path, everything|read)
	}
	r.allow("/dev/null", readFile|unix.LANDLOCK_ACCESS_FS_WRITE_FILE)
	for _, pattern := range loaders {
		// The only error is that of a pattern that is wrong.
		found, _ := filepath.Glob(pattern)
		for _, path := range found {
			r.allow(path, readFile|execute)
		}
	}
	r.allow(p.cfg.Path, readFile|execute)
	if p.cfg.Reading != nil && p.cfg.Reading.file != nil {
		// What is started may no longer be what the path names.
		r.add(int(p.cfg.Reading.file.Fd()), readFile|execute) //nolint:gosec // a file descriptor
	}
	if r.err != nil {
		_ = unix.Close(r.fd)
		return -1, r.err
	}
	return r.fd, nil
}

// rules is a set of rules that is being made, and the first thing that went wrong.
type rules struct {
	fd      int
	handled uint64
	err     error
}

// allow allows rights below a path, where it exists.
func (r *rules) allow(path string, rights uint64) {
	fd, err := unix.Open(path, unix.O_PATH|unix.O_CLOEXEC, 0)
	if err != nil {
		return // what is not there, or cannot be reached, need not be allowed
	}
	defer unix.Close(fd) //nolint:errcheck // nothing was written
	var stat unix.Stat_t
	if err := unix.Fstat(fd, &stat); err != nil {
		r.err = errors.Join(r.err, fmt.Errorf("look at %s: %w", path, err))
		return
	}
	if stat.Mode&unix.S_IFMT != unix.S_IFDIR {
		rights &= ofFile
	}
	r.add(fd, rights)
}

func (r *rules) add(fd int, rights uint64) {
	beneath := unix.LandlockPathBeneathAttr{Allowed_access: rights & r.handled, Parent_fd: int32(fd)}        //nolint:gosec // a file descriptor
	_, _, errno := unix.Syscall6(unix.SYS_LANDLOCK_ADD_RULE, uintptr(r.fd), unix.LANDLOCK_RULE_PATH_BENEATH, //nolint:gosec // a file descriptor
		uintptr(unsafe.Pointer(&beneath)), 0, 0, 0) //nolint:gosec // a system call
	if errno != 0 {
		r.err = errors.Join(r.err, fmt.Errorf("allow a path: %w", os.NewSyscallError("landlock_add_rule", errno)))
	}
}
