module example.org/withhold

go 1.22
