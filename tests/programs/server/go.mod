module example.com/sonde/server

go 1.17
