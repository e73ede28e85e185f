//! Assembly and I/O: boot, config, disk, metrics, admin HTTP and the command line.

/// Runs the command line.
pub fn main() -> std::process::ExitCode {
    std::process::ExitCode::SUCCESS
}
