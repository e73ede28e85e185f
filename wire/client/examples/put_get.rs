//! Writes a key, reads it back and settles it: `cargo run -p anser-client --example put_get -- anser-dev/certs`, with
//! the addresses of a cluster that `anser dev` started.
//!
//! Takes the folder with `ca.pem`, `client.pem` and `client.key`, and any number of addresses.

use anser_client::{Client, ContextArg, GetOptions, Key, KeyspaceName, Profile, PutOptions};
use std::error::Error;
use std::path::PathBuf;

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Box<dyn Error>> {
    let mut arguments = std::env::args().skip(1);
    let folder = PathBuf::from(arguments.next().ok_or("usage: put_get FOLDER ADDRESS...")?);
    let addresses = arguments.map(|address| address.parse()).collect::<Result<Vec<_>, _>>()?;
    let client = Client::connect(Profile {
        addresses,
        ca: folder.join("ca.pem"),
        cert: folder.join("client.pem"),
        key: folder.join("client.key"),
    })
    .await?;

    let keyspace = KeyspaceName::new("default")?;
    let key = Key::new("greeting")?;
    let written = client.put(&keyspace, &key, "hello", PutOptions::default()).await?;
    println!("durable on {} of {} replicas", written.receipt.durable, written.receipt.replicas);

    // A write with a context settles exactly the versions that the context was given with.
    let found = client.get(&keyspace, &key, GetOptions::default()).await?;
    println!("found {} version(s)", found.versions.len());
    let options = PutOptions { context: ContextArg::Token(found.context), ..PutOptions::default() };
    match client.put(&keyspace, &key, "hello again", options).await {
        Ok(_) => println!("settled"),
        Err(error) => println!("{:?}: {error}", error.certainty()),
    }
    client.close().await;
    Ok(())
}
