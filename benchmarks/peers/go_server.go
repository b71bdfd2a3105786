// A TLS server on Go's crypto/tls: go_server PORT CERT KEY. After the handshake it reads lines: "D n" sends n bytes, "U n"
// takes n bytes and answers "OK n", "E" echoes everything from then on.
package main

import (
	"bufio"
	"crypto/tls"
	"fmt"
	"io"
	"net"
	"os"
	"runtime"
	"strconv"
	"strings"
)

var zeros = make([]byte, 256*1024)

func main() {
	if len(os.Args) != 4 {
		fmt.Fprintln(os.Stderr, "go_server PORT CERT KEY")
		os.Exit(2)
	}
	certificate, err := tls.LoadX509KeyPair(os.Args[2], os.Args[3])
	check(err)
	config := &tls.Config{Certificates: []tls.Certificate{certificate}, MinVersion: tls.VersionTLS12}
	listener, err := net.Listen("tcp", "127.0.0.1:"+os.Args[1])
	check(err)
	fmt.Fprintln(os.Stderr, "ready", runtime.Version())
	for {
		connection, err := listener.Accept()
		check(err)
		go converse(tls.Server(connection, config))
	}
}

func converse(connection *tls.Conn) {
	defer connection.Close()
	if connection.Handshake() != nil {
		return
	}
	reader := bufio.NewReaderSize(connection, 4096)
	for {
		line, err := reader.ReadString('\n')
		if err != nil {
			return
		}
		if line[0] == 'E' {
			echo(connection, reader)
			return
		}
		count, err := strconv.ParseInt(strings.TrimSpace(line[2:]), 10, 64)
		if err != nil {
			return
		}
		if line[0] == 'D' {
			err = send(connection, count)
		} else if err = receive(reader, count); err == nil {
			_, err = fmt.Fprintf(connection, "OK %d\n", count)
		}
		if err != nil {
			return
		}
	}
}

func send(connection *tls.Conn, count int64) error {
	for count > 0 {
		written, err := connection.Write(zeros[:min(count, int64(len(zeros)))])
		if err != nil {
			return err
		}
		count -= int64(written)
	}
	return nil
}

func receive(reader io.Reader, count int64) error {
	data := make([]byte, 64*1024)
	for count > 0 {
		taken, err := reader.Read(data[:min(count, int64(len(data)))])
		if err != nil {
			return err
		}
		count -= int64(taken)
	}
	return nil
}

func echo(connection *tls.Conn, reader io.Reader) {
	data := make([]byte, 16*1024)
	for {
		taken, err := reader.Read(data)
		if err != nil {
			return
		}
		if _, err = connection.Write(data[:taken]); err != nil {
			return
		}
	}
}

func check(err error) {
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}
