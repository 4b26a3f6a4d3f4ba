# Everything that has to hold before a change lands.
check:
    .ci/run

test:
    cargo test --workspace

bench:
    cargo bench --workspace --bench step --bench query

docs:
    cargo doc --workspace --no-deps --open

# Ten seeds of the main job, its relatives, and no penalty: README's table of the ways to certify.
table-compas:
    experiments/compas/run
