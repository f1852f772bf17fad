module memgpt-proxy/benchmarks/overhead

go 1.21
