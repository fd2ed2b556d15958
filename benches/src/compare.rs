//! One measurement of Trunkline against the constant server, or against another Trunkline, in turns.

use std::path::Path;

use tempfile::TempDir;

use crate::{
    Bench,
    load::{self, Expect},
    report::{Aim, Comparison, Report, Round},
    request::Template,
    server::Server,
};

/// What is sent, by how many, and what is hoped for.
#[derive(Debug)]
pub(crate) struct Case {
    /// The group it belongs to.
    pub(crate) group: &'static str,
    /// What distinguishes it in the group, apart from the clients.
    pub(crate) what: String,
    /// Connections that send at the same time.
    pub(crate) clients: u16,
    /// What each of them sends.
    pub(crate) template: Template,
    /// What each answer must be.
    pub(crate) expect: Expect,
    /// What the ratio should be.
    pub(crate) aim: Option<Aim>,
}

impl Case {
    /// Measures, enters the result or the failure in the report, and hands the result back.
    pub(crate) async fn measure<'a>(&self, bench: &Bench, report: &'a mut Report) -> Option<&'a Comparison> {
        let title = format!("{} {}, {} clients", self.group, self.what, self.clients);
        eprintln!("measuring {title}");
        match self.rounds(bench).await {
            Ok(rounds) => Some(report.compare(self.group, &self.what, self.clients, rounds, self.aim)),
            Err(error) => {
                report.fail(&title, &error);
                None
            }
        }
    }

    async fn rounds(&self, bench: &Bench) -> anyhow::Result<Vec<Round>> {
        // A fresh journal for each case: one that grows from case to case would measure the order of the cases.
        let (home, other) = (fresh(&bench.dir)?, fresh(&bench.dir)?);
        let anchor = match &bench.baseline {
            Some(baseline) => Server::trunkline(baseline, &project(&other)).await?,
            None => Server::constant(&project(&other)).await?,
        };
        let subject = Server::trunkline(&bench.binary, &project(&home)).await?;
        let mut rounds = Vec::new();
        for _ in 0..bench.rounds {
            let constant = load::run(&anchor, &self.template, self.expect, self.clients, bench.duration).await?;
            anchor.settle().await?;
            let trunkline = load::run(&subject, &self.template, self.expect, self.clients, bench.duration).await?;
            let deferred = subject.settle().await?;
            rounds.push(Round::new(constant, trunkline, deferred));
        }
        subject.stop().await?;
        anchor.stop().await?;
        Ok(rounds)
    }
}

/// A directory that is removed when dropped.
pub(crate) fn fresh(dir: &Path) -> std::io::Result<TempDir> {
    tempfile::Builder::new().prefix("run-").tempdir_in(dir)
}

/// The project directory in a fresh directory; logs go beside it.
pub(crate) fn project(home: &TempDir) -> std::path::PathBuf {
    let project = home.path().join("project");
    // It may exist from the server before; if it cannot be made, the server says so better.
    let _ = std::fs::create_dir(&project);
    project
}
