module authsvc/sdk/go

go 1.22
