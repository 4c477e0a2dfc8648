package e2etest

import (
	"math/rand/v2"
	"slices"
	"sync"
	"syscall"
	"testing"
	"time"
)

// Killing is how instances are killed at random moments.
type Killing struct {
	// Instances is how many run at once; a killed one is started anew.
	Instances int
	// Most is how many are killed, and For how long they are.
	Most int
	For  time.Duration
	// Pause is the longest time between two kills.
	Pause time.Duration
}

// KilledUntilDone starts instances of `apply`, kills one now and then, with its
// plugins or without, more often than not the one that works, and starts others in
// their place until one ends by itself. At last it applies once more. The moments
// are drawn from a fixed seed, but machines differ.
func (p *Project) KilledUntilDone(k Killing) {
	p.t.Helper()
	rng := rand.New(rand.NewPCG(1, 2)) //nolint:gosec // which process dies is no secret
	g := &instances{t: p.t, p: p}
	var all sync.WaitGroup
	for range k.Instances {
		all.Go(g.work)
	}
	n := 0
	for deadline := time.Now().Add(k.For); n < k.Most && time.Now().Before(deadline) && !g.over(); {
		time.Sleep(30*time.Millisecond + time.Duration(rng.Int64N(int64(k.Pause))))
		if g.kill(rng) {
			n++
		}
	}
	all.Wait()
	p.Must(0, "apply")
	p.t.Logf("%d kills", n)
}

// instances are those that are under way.
type instances struct {
	t testing.TB
	p *Project

	mu      sync.Mutex
	running []*Process
	done    bool
}

// work runs instances, one after the other, until one ends by itself.
func (g *instances) work() {
	for {
		g.mu.Lock()
		if g.done {
			g.mu.Unlock()
			return
		}
		pr := g.p.Start("apply")
		g.running = append(g.running, pr)
		g.mu.Unlock()
		r := pr.Wait(3 * time.Minute)
		g.mu.Lock()
		g.running = slices.DeleteFunc(g.running, func(x *Process) bool { return x == pr })
		switch r.Code {
		case 0:
			g.done = true
		case -1: // killed
		default:
			g.t.Errorf("an instance that was not killed failed:\n%s", r)
			g.done = true
		}
		g.mu.Unlock()
	}
}

func (g *instances) over() bool {
	g.mu.Lock()
	defer g.mu.Unlock()
	return g.done
}

// kill kills an instance: half of the time one that does not wait for another, and
// half of the time with its plugins.
func (g *instances) kill(rng *rand.Rand) bool {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.done || len(g.running) == 0 {
		return false
	}
	victims := g.running
	if rng.IntN(2) == 0 {
		busy := slices.DeleteFunc(slices.Clone(g.running), func(pr *Process) bool { return pr.Said("waiting for the lock") })
		if len(busy) > 0 {
			victims = busy
		}
	}
	victim := victims[rng.IntN(len(victims))]
	if rng.IntN(2) == 0 {
		victim.SignalAll(syscall.SIGKILL)
	} else {
		victim.Signal(syscall.SIGKILL)
	}
	return true
}
