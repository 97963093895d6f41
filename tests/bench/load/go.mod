module example.com/bench/load

go 1.22
