//! The `anser` binary: everything it does is in the `anser-node` crate.

/// A node's threads hand on what they allocate, and flushes and merges come in bursts: glibc kept as much again as was in use.
/// How this heap is set up is in `.cargo/config.toml`.
#[global_allocator]
static ALLOCATOR: tikv_jemallocator::Jemalloc = tikv_jemallocator::Jemalloc;

fn main() -> std::process::ExitCode {
    anser_node::main()
}
