// A TLS client on Go's crypto/tls: go_client HOST PORT CA N CONCURRENCY RESUME. It makes N verified connections,
// CONCURRENCY at a time, each sends "D 1", reads a byte and closes in order, and prints one line of JSON.
package main

import (
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"io"
	"net"
	"os"
	"runtime"
	"strconv"
	"sync"
	"sync/atomic"
	"syscall"
	"time"
)

// oneSession keeps the first session that it gets, for every connection after it.
type oneSession struct {
	mutex   sync.Mutex
	session *tls.ClientSessionState
}

func (cache *oneSession) Get(string) (*tls.ClientSessionState, bool) {
	cache.mutex.Lock()
	defer cache.mutex.Unlock()
	return cache.session, cache.session != nil
}

func (cache *oneSession) Put(_ string, session *tls.ClientSessionState) {
	cache.mutex.Lock()
	defer cache.mutex.Unlock()
	if cache.session == nil {
		cache.session = session
	}
}

var (
	address string
	config  *tls.Config
	resumed atomic.Int64
)

func main() {
	if len(os.Args) != 7 {
		fail("go_client HOST PORT CA N CONCURRENCY RESUME")
	}
	address = net.JoinHostPort(os.Args[1], os.Args[2])
	pem, err := os.ReadFile(os.Args[3])
	check(err)
	pool := x509.NewCertPool()
	pool.AppendCertsFromPEM(pem)
	config = &tls.Config{RootCAs: pool, ServerName: "localhost", MinVersion: tls.VersionTLS13,
		CurvePreferences: []tls.CurveID{tls.X25519}}
	count, concurrency, resume := number(4), number(5), number(6)
	if resume == 1 {
		config.ClientSessionCache = &oneSession{}
		visit()
	}
	warmup := max(count/4, concurrency)
	many(warmup, concurrency)
	resumed.Store(0)
	before, begin := cpuTime(), time.Now()
	many(count, concurrency)
	elapsed, cpu := time.Since(begin).Seconds(), cpuTime()-before
	fmt.Printf("{\"n\": %d, \"warmup\": %d, \"resumed\": %d, \"elapsed\": %f, \"cpu\": %f, \"version\": \"%s\"}\n",
		count, warmup+resume, resumed.Load(), elapsed, cpu, runtime.Version())
}

func many(count, concurrency int) {
	var todo atomic.Int64
	var workers sync.WaitGroup
	todo.Store(int64(count))
	for range min(count, concurrency) {
		workers.Add(1)
		go func() {
			defer workers.Done()
			for todo.Add(-1) >= 0 {
				visit()
			}
		}()
	}
	workers.Wait()
}

func visit() {
	connection, err := tls.Dial("tcp", address, config)
	check(err)
	_, err = connection.Write([]byte("D 1\n"))
	check(err)
	data := make([]byte, 16)
	if taken, err := connection.Read(data); taken != 1 {
		fail("no answer:", err)
	}
	if connection.ConnectionState().DidResume {
		resumed.Add(1)
	}
	check(connection.CloseWrite())
	if _, err = connection.Read(data); err != io.EOF {
		fail("the server did not close in order:", err)
	}
	check(connection.NetConn().Close())
}

func cpuTime() float64 {
	var usage syscall.Rusage
	check(syscall.Getrusage(syscall.RUSAGE_SELF, &usage))
	return time.Duration(usage.Utime.Nano() + usage.Stime.Nano()).Seconds()
}

func number(index int) int {
	value, err := strconv.Atoi(os.Args[index])
	check(err)
	return value
}

func check(err error) {
	if err != nil {
		fail(err)
	}
}

func fail(words ...any) {
	fmt.Fprintln(os.Stderr, words...)
	os.Exit(1)
}
