//! The command line: parses, runs one command, and turns its end into an exit status and one line.
//!
//! Results go to stdout, everything else to stderr. Statuses are [`failure`]'s business alone. Deliberately absent: what
//! the commands of nodes and clusters do; each has a module of its own, with an `Args` to parse and a function to run.

pub mod bench;
pub mod failure;
mod json;
pub mod keys;
pub mod load;
pub mod output;
pub mod parse;
pub mod profile;
mod progress;
pub mod status;
pub mod store;
mod version;

use crate::{certs, demo, dev, init, runtime};
use anser_client::Client;
use clap::{CommandFactory, Parser, Subcommand};
use failure::{Failure, exit_code};
use std::path::PathBuf;
use std::process::ExitCode;

/// The whole command line.
#[derive(Debug, Parser)]
#[command(
    name = "anser",
    version = version::SHORT,
    long_version = version::long(),
    about = "A leaderless, multi-data-centre, self-healing key-value store",
    after_help = "\
Examples:
  anser dev                    start a cluster of three nodes here
  anser put greeting hello     write a key (from another terminal)
  anser get greeting           read it back

Exit status: 0 done, 1 no such key, 2 wrong usage or bad input, 3 unavailable (nothing happened),
4 unknown (may or may not have been applied), 5 conflict, 6 not allowed, 7 cluster not reached, 70 a bug.",
    arg_required_else_help = true,
    disable_help_subcommand = true
)]
pub struct Cli {
    #[command(subcommand)]
    command: Command,
}

/// What it can do.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Run a real cluster on this machine
    Dev(dev::DevArgs),
    /// Tell the whole story on this machine: store, kill, read on, conflict, heal
    Demo(demo::DemoArgs),
    /// Run one node, in the foreground
    Node(runtime::NodeArgs),
    /// Create a cluster, once
    Init(init::InitArgs),
    /// Make certificates
    #[command(subcommand)]
    Certs(certs::CertsCommand),
    /// Write a key
    Put(keys::PutArgs),
    /// Read a key
    Get(keys::GetArgs),
    /// Delete a key
    Del(keys::DelArgs),
    /// Load JSON or CSV
    Load(load::LoadArgs),
    /// Measure a cluster, and check what it answers
    Bench(bench::BenchArgs),
    /// The cluster and its members
    #[command(subcommand)]
    Cluster(status::ClusterCommand),
    /// Look at a data folder that no node uses
    #[command(subcommand)]
    Store(store::StoreCommand),
    /// Print shell completions
    Completions(CompletionsArgs),
}

/// How a command finds its cluster.
#[derive(Clone, Debug, clap::Args)]
pub struct ClientArgs {
    /// The cluster's profile [default: $ANSER_PROFILE, ./anser-dev/client.toml, $XDG_CONFIG_HOME/anser/client.toml]
    #[arg(long, value_name = "FILE")]
    profile: Option<PathBuf>,
}

/// `anser completions`.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Example:
  anser completions bash > ~/.local/share/bash-completion/completions/anser")]
pub struct CompletionsArgs {
    /// For which shell
    shell: clap_complete::Shell,
}

impl Command {
    /// Runs it to its end.
    pub fn run(self) -> Result<(), Failure> {
        match self {
            Command::Dev(args) => on_one_thread(async { Ok(dev::run(args).await?) }),
            Command::Demo(args) => on_one_thread(async { Ok(demo::run(args).await?) }),
            Command::Node(args) => Ok(runtime::run(&args)?),
            Command::Init(args) => on_one_thread(async { Ok(init::run(args).await?) }),
            Command::Certs(command) => Ok(certs::run(command)?),
            Command::Put(args) => on_one_thread(args.run()),
            Command::Get(args) => on_one_thread(args.run()),
            Command::Del(args) => on_one_thread(args.run()),
            Command::Load(args) => on_one_thread(args.run()),
            Command::Bench(args) => on_one_thread(args.run()),
            Command::Cluster(command) => on_one_thread(command.run()),
            Command::Store(command) => on_one_thread(command.run()),
            Command::Completions(args) => args.run(),
        }
    }
}

impl ClientArgs {
    /// Connects to the profile's cluster.
    pub async fn connect(&self) -> Result<Client, Failure> {
        let profile = profile::load(self.profile.as_deref())?;
        Ok(Client::connect(profile).await?)
    }

    /// Connects, does something, and leaves in good order, however that ended.
    pub async fn with<T>(&self, act: impl AsyncFnOnce(&Client) -> Result<T, Failure>) -> Result<T, Failure> {
        let client = self.connect().await?;
        let done = act(&client).await;
        client.close().await;
        done
    }
}

impl CompletionsArgs {
    fn run(self) -> Result<(), Failure> {
        let mut script = Vec::new();
        clap_complete::generate(self.shell, &mut Cli::command(), "anser", &mut script);
        output::bytes(&script)
    }
}

/// Runs a command on a runtime of this thread alone: it costs the least, and clients wait most of the time.
pub fn on_one_thread(command: impl Future<Output = Result<(), Failure>>) -> Result<(), Failure> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    runtime.map_err(|error| Failure::bug(format!("the runtime can't start: {error}")))?.block_on(command)
}

/// Runs the process's command line; its exit status.
pub fn main() -> ExitCode {
    let cli = match Cli::try_parse() {
        Ok(cli) => cli,
        Err(error) => return end_unparsed(&error),
    };
    match cli.command.run() {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => {
            output::note(&format!("anser: {failure}"));
            ExitCode::from(exit_code(&failure))
        }
    }
}

/// The end of a command line that asks for help, or is wrong; what is wrong is one line, as with every other failure.
fn end_unparsed(error: &clap::Error) -> ExitCode {
    use clap::error::ErrorKind::{DisplayHelp, DisplayHelpOnMissingArgumentOrSubcommand, DisplayVersion};
    let is_help =
        matches!(error.kind(), DisplayHelp | DisplayHelpOnMissingArgumentOrSubcommand | DisplayVersion);
    if is_help {
        let _ignored = error.print();
    } else {
        output::note(&format!("anser: {}", wrong_usage(&error.to_string())));
    }
    ExitCode::from(u8::try_from(error.exit_code()).unwrap_or(2))
}

/// What clap says in paragraphs, on one line.
fn wrong_usage(said: &str) -> String {
    let paragraphs = said.trim_start_matches("error: ").split("\n\n").map(Failure::usage);
    paragraphs.map(|paragraph| paragraph.line).collect::<Vec<_>>().join("; ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn wrong_usage_is_one_line() {
        for line in [&["anser", "got"][..], &["anser", "get"], &["anser", "put", "k", "--w", "0"]] {
            let said = wrong_usage(&Cli::try_parse_from(line).unwrap_err().to_string());
            assert_eq!(said.lines().count(), 1, "{said}");
            assert!(said.contains("--help") && !said.starts_with("error"), "{said}");
        }
    }

    /// Every command that runs something, with those inside it.
    fn leaves(command: &clap::Command) -> Vec<&clap::Command> {
        let inside: Vec<_> = command.get_subcommands().flat_map(leaves).collect();
        if inside.is_empty() { vec![command] } else { inside }
    }

    #[test]
    fn the_command_line_is_sound() {
        Cli::command().debug_assert();
    }

    #[test]
    fn every_command_has_an_example() {
        let mut root = Cli::command();
        root.build();
        for leaf in leaves(&root) {
            let help = leaf.get_after_help().map(ToString::to_string).unwrap_or_default();
            assert!(help.contains("Example"), "{} has no example", leaf.get_name());
        }
    }

    #[test]
    fn wrong_usage_exits_with_2() {
        for line in [
            &["anser", "put"][..],
            &["anser", "nonsense"],
            &["anser", "put", "k", "v", "--consistency", "most"],
            &["anser", "put", "k", "v", "--w", "0"],
            &["anser", "put", "k", "v", "--w", "2", "--consistency", "all"],
            &["anser", "put", "k", "v", "--file", "f"],
            &["anser", "get", "k", "--timeout", "2"],
        ] {
            let error = Cli::try_parse_from(line).unwrap_err();
            assert_eq!(error.exit_code(), 2, "{line:?}");
        }
    }

    #[test]
    fn the_version_names_protocol_and_formats() {
        let error = Cli::try_parse_from(["anser", "--version"]).unwrap_err();
        let text = error.to_string();
        assert_eq!(error.exit_code(), 0);
        for part in ["anser 0.", "commit", "protocol", "format"] {
            assert!(text.contains(part), "{text}");
        }
    }
}
