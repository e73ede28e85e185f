//! The chapters, and the figures that they leave.

use super::crowd::each;
use super::files::Files;
use anser_client::{Client, ContextArg, GetOptions, Key, KeyspaceName, Level, PutOptions};
use anyhow::{Context, Result, ensure};
use bytes::Bytes;
use serde::Serialize;
use std::sync::Arc;
use std::time::Instant;

/// Writes that are made while a node is down.
const WRITES_WHILE_DOWN: usize = 500;

/// What happened, in numbers.
#[derive(Clone, Debug, Default, Serialize)]
pub(super) struct Figures {
    /// Files stored.
    pub files: usize,
    /// Their bytes.
    pub bytes: usize,
    /// Reads that were made and compared.
    pub reads: usize,
    /// Reads that failed, or did not give what was written.
    pub reads_wrong: usize,
    /// Writes made while a node was down.
    pub writes_while_down: usize,
    /// Those of them that failed.
    pub writes_failed: usize,
    /// Versions that two writers at once left.
    pub siblings: usize,
    /// Versions left after a write with their context.
    pub siblings_settled: usize,
    /// Keys that every replica answered for at the end, the returned one included.
    pub keys_on_all_replicas: usize,
    /// Seconds of it all.
    pub seconds: f64,
}

impl Figures {
    /// Whether all went well.
    pub(super) fn nothing_lost(&self) -> bool {
        self.reads_wrong == 0
            && self.writes_failed == 0
            && self.siblings == 2
            && self.siblings_settled == 1
            && self.keys_on_all_replicas == self.files + self.writes_while_down
    }
}

/// A story being told.
pub(super) struct Story {
    client: Client,
    keyspace: KeyspaceName,
    files: Arc<Files>,
    figures: Figures,
}

impl Story {
    pub(super) fn new(client: Client, files: Arc<Files>) -> Story {
        let keyspace =
            KeyspaceName::try_from("default".to_owned()).unwrap_or_else(|_| unreachable!("a good name"));
        let figures =
            Figures { files: files.len(), bytes: files.values().map(Bytes::len).sum(), ..Figures::default() };
        Story { client, keyspace, files, figures }
    }

    /// Stores every file.
    pub(super) async fn load(&mut self) -> Result<()> {
        let begun = Instant::now();
        let failures =
            self.put_all(self.files.iter().map(|(path, content)| (path.clone(), content.clone()))).await;
        ensure!(failures.is_empty(), "{} files could not be stored: {}", failures.len(), first(&failures));
        let seconds = begun.elapsed().as_secs_f64();
        eprintln!(
            "2. Stored {} files, {:.1} MB, each on 3 nodes, on disk on at least 2 before it counted: {seconds:.1} s, {:.0} files/s.",
            self.figures.files,
            self.figures.bytes as f64 / 1e6,
            self.figures.files as f64 / seconds
        );
        Ok(())
    }

    async fn put_all(&self, items: impl Iterator<Item = (String, Bytes)>) -> Vec<String> {
        let results = each(items, |(key, value)| {
            let (client, keyspace) = (self.client.clone(), self.keyspace.clone());
            async move {
                let put = async {
                    let key = Key::new(key.clone())?;
                    anyhow::Ok(client.put(&keyspace, &key, value, PutOptions::default()).await?)
                };
                put.await.err().map(|error| format!("{key}: {error}"))
            }
        });
        results.await.into_iter().flatten().collect()
    }

    /// Reads every file and compares.
    pub(super) async fn read_back(&mut self, what: &str) -> Result<()> {
        let begun = Instant::now();
        let wrong: Vec<String> =
            self.compare_all(GetOptions::default()).await.into_iter().filter_map(Result::err).collect();
        let seconds = begun.elapsed().as_secs_f64();
        self.figures.reads += self.files.len();
        self.figures.reads_wrong += wrong.len();
        ensure!(wrong.is_empty(), "{} files did not read back: {}", wrong.len(), first(&wrong));
        eprintln!("   Now {what}: {:.0} reads/s.", self.files.len() as f64 / seconds);
        Ok(())
    }

    /// Reads every file; for each, how many replicas answered, or what is wrong.
    async fn compare_all(&self, options: GetOptions) -> Vec<Result<usize, String>> {
        let files = self.files.clone();
        each(files.keys().cloned().collect::<Vec<_>>(), |path| {
            let (client, keyspace, files, options) =
                (self.client.clone(), self.keyspace.clone(), files.clone(), options.clone());
            async move {
                let key = Key::new(path.clone()).map_err(|error| error.to_string())?;
                let found =
                    client.get(&keyspace, &key, options).await.map_err(|error| format!("{path}: {error}"))?;
                if found.value().is_some() && found.value() == files.get(&path) {
                    Ok(usize::from(found.receipt.answered))
                } else {
                    Err(format!("{path}: another content, {} versions", found.versions.len()))
                }
            }
        })
        .await
    }

    /// A node was killed.
    pub(super) fn note_kill(&self, name: String) {
        eprintln!("3. Node {name} is killed, with SIGKILL.");
    }

    /// Writes new keys while a node is down.
    pub(super) async fn write_on(&mut self) -> Result<()> {
        let begun = Instant::now();
        let writes: Files = (0..WRITES_WHILE_DOWN)
            .map(|i| (format!("while-down/{i}"), Bytes::from(format!("written without node three, {i}"))))
            .collect();
        let failures = self.put_all(writes.clone().into_iter()).await;
        let seconds = begun.elapsed().as_secs_f64();
        self.figures.writes_while_down = writes.len();
        self.figures.writes_failed = failures.len();
        ensure!(failures.is_empty(), "{} writes failed: {}", failures.len(), first(&failures));
        let mut all = (*self.files).clone();
        all.extend(writes);
        self.files = Arc::new(all);
        eprintln!(
            "   Writes go on: {WRITES_WHILE_DOWN} of them, none failed, {:.0} writes/s.",
            WRITES_WHILE_DOWN as f64 / seconds
        );
        Ok(())
    }

    /// Two writers that saw the same, and a third that saw both.
    pub(super) async fn conflict(&mut self) -> Result<()> {
        let key = Key::new("cart")?;
        let (client, keyspace) = (&self.client, &self.keyspace);
        let before = client.put(keyspace, &key, "bread", PutOptions::default()).await?;
        let seen = |token: &str| PutOptions {
            context: ContextArg::Token(token.to_owned()),
            ..PutOptions::default()
        };
        client.put(keyspace, &key, "bread, milk", seen(&before.context)).await?;
        client.put(keyspace, &key, "bread, eggs", seen(&before.context)).await?;
        let both = client.get(keyspace, &key, GetOptions::default()).await?;
        self.figures.siblings = both.versions.len();
        let shown: Vec<String> = both
            .versions
            .iter()
            .map(|version| format!("{:?}", String::from_utf8_lossy(&version.value)))
            .collect();
        eprintln!(
            "4. Two writers saw the same cart and wrote at once; neither is lost: {}.",
            shown.join(" and ")
        );
        client.put(keyspace, &key, "bread, milk, eggs", seen(&both.context)).await?;
        let settled = client.get(keyspace, &key, GetOptions::default()).await?;
        self.figures.siblings_settled = settled.versions.len();
        let value = settled.value().context("the cart was settled")?;
        eprintln!("   A third, who saw both, settles it: {:?}.", String::from_utf8_lossy(value));
        Ok(())
    }

    /// The node is back.
    pub(super) fn note_return(&self) {
        eprintln!("5. The killed node is started again; it reads its commit log and serves.");
    }

    /// Reads everything from all replicas: what the returned one missed is brought to it on the way.
    pub(super) async fn heal(&mut self) -> Result<()> {
        let begun = Instant::now();
        let everywhere = GetOptions { level: Some(Level::All), ..GetOptions::default() };
        let results = self.compare_all(everywhere).await;
        self.figures.reads += results.len();
        let wrong: Vec<String> = results.iter().filter_map(|result| result.clone().err()).collect();
        self.figures.reads_wrong += wrong.len();
        ensure!(
            wrong.is_empty(),
            "{} keys did not read back from all replicas: {}",
            wrong.len(),
            first(&wrong)
        );
        self.figures.keys_on_all_replicas = results.len();
        eprintln!(
            "   All {} keys answered for by every replica, what it missed repaired on the way: {:.1} s.",
            results.len(),
            begun.elapsed().as_secs_f64()
        );
        Ok(())
    }

    /// What happened.
    pub(super) fn into_figures(self) -> Figures {
        self.figures
    }
}

fn first(failures: &[String]) -> &str {
    failures.first().map_or("", String::as_str)
}
