//! Finding and reading the client's profile.

use super::failure::Failure;
use anser_client::Profile;
use serde::Deserialize;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};

/// Where `anser dev` leaves a profile.
const DEV_PROFILE: &str = "anser-dev/client.toml";

/// A profile file.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct ProfileFile {
    cluster: ClusterSection,
    tls: TlsSection,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct ClusterSection {
    addresses: Vec<SocketAddr>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct TlsSection {
    ca: PathBuf,
    cert: PathBuf,
    key: PathBuf,
}

/// The profile that a command uses: of `named` (from `--profile`), `ANSER_PROFILE`, `./anser-dev/client.toml` and
/// `anser/client.toml` in the user's configuration folder, the first that there is. One that is named must be there.
pub fn load(named: Option<&Path>) -> Result<Profile, Failure> {
    let set = |name: &str| std::env::var_os(name).filter(|value| !value.is_empty()).map(PathBuf::from);
    let home = set("HOME").map(|home| home.join(".config"));
    let config = set("XDG_CONFIG_HOME").or(home).map(|config| config.join("anser/client.toml"));
    let there = |path: PathBuf| Some(path).filter(|path| path.exists());
    let path = named.map(Path::to_owned).or_else(|| set("ANSER_PROFILE"));
    let path = path.or_else(|| there(PathBuf::from(DEV_PROFILE))).or_else(|| config.and_then(there));
    match path {
        Some(path) => read(&path),
        None => Err(Failure::usage(
            "no cluster's profile was found; start a cluster here by `anser dev`, or name a profile by --profile",
        )),
    }
}

/// Reads a profile file. Paths in it are relative to its folder.
pub fn read(path: &Path) -> Result<Profile, Failure> {
    let at = format!("profile {}", path.display());
    let text = std::fs::read_to_string(path)
        .map_err(|error| Failure::usage(format!("{error}; name another by --profile")).at(&at))?;
    let folder = path.parent().unwrap_or_else(|| Path::new("."));
    parse(&text, folder).map_err(|failure| failure.at(&at))
}

fn parse(text: &str, folder: &Path) -> Result<Profile, Failure> {
    let file: ProfileFile = toml::from_str(text).map_err(|error| {
        let before = error.span().and_then(|span| text.get(..span.start));
        let line = before.map_or(0, |before| before.matches('\n').count()) + 1;
        Failure::usage(format!("line {line}: {}", error.message()))
    })?;
    Ok(Profile {
        addresses: file.cluster.addresses,
        ca: folder.join(file.tls.ca),
        cert: folder.join(file.tls.cert),
        key: folder.join(file.tls.key),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    const GOOD: &str = "[cluster]\naddresses = [\"127.0.0.1:7400\", \"127.0.0.1:7402\"]\n\n[tls]\nca = \"ca.pem\"\ncert = \"client.pem\"\nkey = \"/secret/client.key\"\n";

    #[test]
    fn paths_are_relative_to_the_profile() {
        let profile = parse(GOOD, Path::new("/dev/cluster")).unwrap();
        assert_eq!(profile.addresses.len(), 2);
        assert_eq!(profile.ca, Path::new("/dev/cluster/ca.pem"));
        assert_eq!(profile.key, Path::new("/secret/client.key"));
    }

    #[test]
    fn a_typo_is_named_with_its_line() {
        let failure = parse(&GOOD.replace("cert =", "crt ="), Path::new("/")).unwrap_err();
        assert!(failure.line.contains("line 6"), "{failure}");
        assert!(failure.line.contains("crt"), "{failure}");
        let failure = parse(&GOOD.replace("7402", "x"), Path::new("/")).unwrap_err();
        assert!(failure.line.contains("line 2"), "{failure}");
    }

    #[test]
    fn a_profile_that_is_not_there_is_wrong_usage() {
        let failure = read(Path::new("/nowhere/client.toml")).unwrap_err();
        assert!(failure.line.starts_with("profile /nowhere/client.toml: "), "{failure}");
        assert_eq!(super::super::failure::exit_code(&failure), 2);
    }
}
