// An HTTP server with cgo, whose requests are also answered on foreign threads: C starts a thread, the thread calls
// back into Go, and Go reads and writes there. On such a thread r14 is no goroutine until Go has run.
package main

/*
#cgo LDFLAGS: -lpthread
#include <pthread.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

extern void sondeCallback(uintptr_t handle);

static void* foreign_thread(void* handle) {
	sondeCallback((uintptr_t)handle);
	return NULL;
}

static int call_on_foreign_thread(uintptr_t handle) {
	pthread_t thread;
	int failed = pthread_create(&thread, NULL, foreign_thread, (void*)handle);
	return failed ? failed : pthread_join(thread, NULL);
}

// A read and a write by C itself, with whatever C left in r14.
static long c_read(int fd, void* buffer, long size) {
	register uintptr_t r14 __asm__("r14") = 0x6f6f6f6f6f6f6f6f;
	__asm__ volatile("" : "+r"(r14));
	return read(fd, buffer, size);
}

static long c_write(int fd, const char* text) {
	register uintptr_t r14 __asm__("r14") = 0x6f6f6f6f6f6f6f6f;
	__asm__ volatile("" : "+r"(r14));
	return write(fd, text, strlen(text));
}
*/
import "C"

import (
	"fmt"
	"io"
	"log"
	"net"
	"net/http"
	"runtime/cgo"
	"syscall"
	"unsafe"
)

//export sondeCallback
func sondeCallback(handle C.uintptr_t) {
	cgo.Handle(handle).Value().(func())()
}

// onForeignThread runs f on a thread that C made.
func onForeignThread(f func()) {
	handle := cgo.NewHandle(f)
	defer handle.Delete()
	if failed := C.call_on_foreign_thread(C.uintptr_t(handle)); failed != 0 {
		log.Fatalf("pthread_create: %d", failed)
	}
}

// serveByC answers one request on a plain blocking socket, by read and write of C.
func serveByC(fd int) {
	defer syscall.Close(fd)
	buffer := C.malloc(4096)
	defer C.free(buffer)
	if C.c_read(C.int(fd), buffer, 4096) <= 0 {
		return
	}
	answer := C.CString("HTTP/1.1 200 OK\r\nContent-Length: 5\r\nConnection: close\r\n\r\nby C\n")
	defer C.free(unsafe.Pointer(answer))
	C.c_write(C.int(fd), answer)
}

// acceptByC listens on a port of its own; every connection is served on a foreign thread.
func acceptByC() int {
	listening, err := syscall.Socket(syscall.AF_INET, syscall.SOCK_STREAM|syscall.SOCK_CLOEXEC, 0)
	if err != nil {
		log.Fatal(err)
	}
	if err := syscall.Bind(listening, &syscall.SockaddrInet4{Addr: [4]byte{127, 0, 0, 1}}); err != nil {
		log.Fatal(err)
	}
	if err := syscall.Listen(listening, 16); err != nil {
		log.Fatal(err)
	}
	address, err := syscall.Getsockname(listening)
	if err != nil {
		log.Fatal(err)
	}
	go func() {
		for {
			fd, _, err := syscall.Accept(listening)
			if err != nil {
				log.Fatal(err)
			}
			onForeignThread(func() { serveByC(fd) })
		}
	}()
	return address.(*syscall.SockaddrInet4).Port
}

func main() {
	http.HandleFunc("/fast", func(w http.ResponseWriter, r *http.Request) { io.WriteString(w, "ok\n") })
	// The answer is written by Go, on a thread that C made.
	http.HandleFunc("/foreign", func(w http.ResponseWriter, r *http.Request) {
		onForeignThread(func() {
			io.WriteString(w, "foreign\n")
			w.(http.Flusher).Flush()
		})
	})
	http.HandleFunc("/panic", func(w http.ResponseWriter, r *http.Request) { panic("boom") })

	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		log.Fatal(err)
	}
	fmt.Printf("listening %s c 127.0.0.1:%d\n", listener.Addr(), acceptByC())
	log.Fatal(http.Serve(listener, nil))
}
