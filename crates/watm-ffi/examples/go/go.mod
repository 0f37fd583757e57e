module example.org/movefile

go 1.21
