# Everything that has to hold before a change lands.
check:
    .ci/run

test:
    cargo test --workspace

bench:
    cargo bench --workspace --bench step --bench query

docs:
    cargo doc --workspace --no-deps --open

# README's table: ten seeds with the penalty and ten without, one line each.
table-compas:
    experiments/compas/run
