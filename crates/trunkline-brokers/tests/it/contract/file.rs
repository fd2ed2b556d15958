//! Files.

use std::fs;
use std::path::PathBuf;
use std::sync::Arc;

use async_trait::async_trait;
use tempfile::TempDir;
use trunkline_brokers::FileBroker;
use trunkline_brokers::file::{Options, Rotation};
use trunkline_core::Broker;
use trunkline_testkit::contract::{self, Arrived, Subject};
use trunkline_testkit::{contract_tests, file_events};

use crate::common::everything;

struct File {
    directory: TempDir,
}

impl File {
    fn new() -> Self {
        let file = Self { directory: tempfile::tempdir().unwrap() };
        fs::create_dir(file.parent()).unwrap();
        file
    }

    fn parent(&self) -> PathBuf {
        self.directory.path().join("logs")
    }

    fn path(&self) -> PathBuf {
        self.parent().join("rasa_event.log")
    }

    fn go(&self) {
        fs::rename(self.parent(), self.directory.path().join("elsewhere")).unwrap();
    }

    fn come_back(&self) {
        fs::rename(self.directory.path().join("elsewhere"), self.parent()).unwrap();
    }
}

#[async_trait]
impl Subject for File {
    fn broker(&self) -> Arc<dyn Broker> {
        Arc::new(FileBroker::new(self.path()))
    }

    async fn arrived(&self) -> Vec<Arrived> {
        file_events(&self.path()).into_iter().map(Arrived::body).collect()
    }

    fn is_exactly_once(&self) -> bool {
        true
    }
}

contract_tests!(File::new());

/// A file that is rotated all the time.
struct Rotated(File);

#[async_trait]
impl Subject for Rotated {
    fn broker(&self) -> Arc<dyn Broker> {
        let rotate = Some(Rotation { size: Some(20_000), compress: true, ..Rotation::default() });
        Arc::new(FileBroker::with_options(self.0.path(), Options { rotate, ..Options::default() }))
    }

    async fn arrived(&self) -> Vec<Arrived> {
        everything(&self.0.path())
            .split_inclusive(|&byte| byte == b'\n')
            .map(|line| Arrived::body(line.trim_ascii_end()))
            .collect()
    }

    fn is_exactly_once(&self) -> bool {
        true
    }
}

mod rotated {
    use super::*;

    contract_tests!(Rotated(File::new()));
}

#[tokio::test]
async fn a_directory_of_rotated_files_that_goes_and_comes_back_under_load() {
    let rotated = Rotated(File::new());
    let again_and_again = async {
        for _ in 0..20 {
            rotated.0.go();
            tokio::task::yield_now().await;
            rotated.0.come_back();
            tokio::task::yield_now().await;
        }
    };
    contract::fault_under_load(&rotated, again_and_again).await;
}

#[tokio::test]
async fn a_directory_that_is_away_for_a_while() {
    let file = File::new();
    contract::outage(&file, async { file.go() }, async { file.come_back() }).await;
}

#[tokio::test]
async fn a_directory_that_goes_and_comes_back_under_load() {
    let file = File::new();
    let again_and_again = async {
        for _ in 0..20 {
            file.go();
            tokio::task::yield_now().await;
            file.come_back();
            tokio::task::yield_now().await;
        }
    };
    contract::fault_under_load(&file, again_and_again).await;
}
