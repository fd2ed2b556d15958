//! How the commands on the same machine reach a running gateway.

use std::fs::{self, OpenOptions};
use std::io::{self, Write as _};
use std::net::SocketAddr;
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

/// The file `gateway.json` beside the journal, readable by its user only.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Control {
    /// The process of the gateway.
    pub pid: u32,
    /// Where it listens.
    pub address: SocketAddr,
    /// Lets the commands of the gateway's own user in.
    pub token: String,
}

impl Control {
    pub(crate) fn new(address: SocketAddr) -> Self {
        Self { pid: std::process::id(), address, token: uuid::Uuid::new_v4().simple().to_string() }
    }

    pub(crate) fn path(directory: &Path) -> PathBuf {
        directory.join("gateway.json")
    }

    pub(crate) fn write(&self, path: &Path) -> io::Result<()> {
        let _ = fs::remove_file(path);
        let mut file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(path)?;
        file.write_all(serde_json::to_string(self)?.as_bytes())
    }

    /// The gateway that runs on the journal in `directory`, if one does.
    pub fn read(directory: &Path) -> Option<Self> {
        let text = fs::read_to_string(Self::path(directory)).ok()?;
        serde_json::from_str(&text).ok()
    }
}
