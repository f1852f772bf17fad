"""What the gateway costs, beside a direct call, a bare proxy and peers. Started by `run`."""
