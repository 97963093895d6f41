#!/usr/bin/python3
"""Writes the source of a large Go program: generate.py FOLDER. Stripped, it has 140 MB, of which analysis must read what it reads of
any large program: 100 MB of code in 100,000 functions, their table, and the descriptors of 100,000 types. The code is assembly, mostly
padding: a compiler would take minutes for as much."""
import pathlib
import sys

PACKAGES = 8
FUNCTIONS = 12_800  # a package; a kilobyte of code each
TYPES = 4_000  # a package; each with its pointer and an array

MAIN = """// A large program; see generate.py.
package main

import (
	"fmt"
	"io"
	"log"
	"net"
	"net/http"

%(imports)s
)

func main() {
	types := [][]any{%(types)s}
	functions := []*[%(functions)d]uintptr{%(tables)s}
	http.HandleFunc("/fast", func(w http.ResponseWriter, r *http.Request) { io.WriteString(w, "ok\\n") })
	http.HandleFunc("/sizes", func(w http.ResponseWriter, r *http.Request) {
		fmt.Fprintln(w, len(types), len(functions))
	})
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		log.Fatal(err)
	}
	fmt.Println("listening", listener.Addr())
	log.Fatal(http.Serve(listener, nil))
}
"""


def types(number):
    lines = [f"package p{number}", "", f"var Functions [{FUNCTIONS}]uintptr", "", "var Types = []any{"]
    lines += [f"\t(*Resource{t})(nil)," for t in range(TYPES)]
    lines += ["}", ""]
    for t in range(TYPES):
        # A slice makes it incomparable: no function for its equality is compiled.
        lines += [f"type Resource{t} struct {{", "\tName, Kind, Namespace string", f"\tParts [{t + 1}]uint64",
                  "\tLabels map[string]string", f"\tNext *Resource{(t + 1) % TYPES}", "\tValues []uint64",
                  f"\tOwner{t} any", "}", ""]
    return "\n".join(lines)


def functions(number):
    lines = ['#include "textflag.h"', ""]
    for f in range(FUNCTIONS):
        lines += [f"TEXT ·generatedResourceHandler{f}(SB), NOSPLIT, $0-0", "\tRET", "\tPCALIGN $512", "\tRET",
                  f"DATA ·Functions+{8 * f}(SB)/8, $·generatedResourceHandler{f}(SB)"]
    lines += [f"GLOBL ·Functions(SB), NOPTR, ${8 * FUNCTIONS}", ""]
    return "\n".join(lines)


def write(path, text):
    # An unchanged file keeps its time, and the go command its cache.
    if not path.exists() or path.read_text() != text:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)


def main():
    folder = pathlib.Path(sys.argv[1])
    packages = range(PACKAGES)
    write(folder / "go.mod", "module example.com/sonde/large\n\ngo 1.22\n")
    write(folder / "main.go", MAIN % {
        "imports": "\n".join(f'\t"example.com/sonde/large/p{n}"' for n in packages),
        "types": ", ".join(f"p{n}.Types" for n in packages),
        "tables": ", ".join(f"&p{n}.Functions" for n in packages), "functions": FUNCTIONS})
    for n in packages:
        write(folder / f"p{n}" / "types.go", types(n))
        write(folder / f"p{n}" / "functions_amd64.s", functions(n))


if __name__ == "__main__":
    main()
