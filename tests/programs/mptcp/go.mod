module example.com/sonde/mptcp

go 1.22
