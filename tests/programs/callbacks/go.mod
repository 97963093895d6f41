module example.com/sonde/callbacks

go 1.22
