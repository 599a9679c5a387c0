module authsvc/bench/sdks/go

go 1.22

require authsvc/sdk/go v0.0.0

replace authsvc/sdk/go => ../../../sdk/go
