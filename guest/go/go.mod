module watm

go 1.24
