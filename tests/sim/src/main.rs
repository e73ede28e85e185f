//! `cargo sim`: see the crate's README.

use std::process::ExitCode;

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> ExitCode {
    match anser_sim::args::parse(std::env::args().skip(1)) {
        Ok(command) => anser_sim::runner::run(&command),
        Err(message) => {
            eprintln!("{message}");
            ExitCode::from(2)
        }
    }
}
