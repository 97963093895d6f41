module example.com/demo/inventory

go 1.17
