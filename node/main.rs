//! The `anser` binary: everything it does is in the `anser-node` crate.

fn main() -> std::process::ExitCode {
    anser_node::main()
}
