// An HTTP server whose listener speaks Multipath TCP, and a client in the same program that calls it so. Where the
// kernel has no MPTCP, Go falls back to TCP: the line it prints says what it is.
package main

import (
	"context"
	"fmt"
	"io"
	"log"
	"net"
	"net/http"
)

func main() {
	config := &net.ListenConfig{}
	config.SetMultipathTCP(true)
	listener, err := config.Listen(context.Background(), "tcp", "127.0.0.1:0")
	if err != nil {
		log.Fatal(err)
	}
	dialer := &net.Dialer{}
	dialer.SetMultipathTCP(true)
	client := &http.Client{Transport: &http.Transport{DialContext: dialer.DialContext}}

	http.HandleFunc("/fast", func(w http.ResponseWriter, r *http.Request) { io.WriteString(w, "ok\n") })
	// Calls /fast of this program over a Multipath TCP connection.
	http.HandleFunc("/self", func(w http.ResponseWriter, r *http.Request) {
		response, err := client.Get("http://" + listener.Addr().String() + "/fast")
		if err != nil {
			http.Error(w, err.Error(), http.StatusBadGateway)
			return
		}
		defer response.Body.Close()
		io.Copy(w, response.Body)
	})

	kind := "tcp"
	if connection, err := dialer.Dial("tcp", listener.Addr().String()); err == nil {
		if multipath, _ := connection.(*net.TCPConn).MultipathTCP(); multipath {
			kind = "mptcp"
		}
		connection.Close()
	}
	fmt.Println("listening", listener.Addr(), kind)
	log.Fatal(http.Serve(listener, nil))
}
