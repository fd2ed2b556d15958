//! Rasa's own broker classes, in a Python that has them.

use std::{path::Path, process::Stdio, time::Duration};

use anyhow::{Context as _, ensure};
use tokio::process::Command;

use super::Place;

const PROGRAM: &str = include_str!("rasa_broker.py");

/// How many events a second Rasa's broker class publishes, counted at the receiver where it does not wait for it.
pub(super) async fn rate(python: &Path, kind: &str, place: &Place, duration: Duration) -> anyhow::Result<f64> {
    let output = Command::new(python)
        .args(["-c", PROGRAM, kind, &place.port.to_string(), &place.name, &duration.as_secs_f64().to_string()])
        .current_dir(&place.directory)
        .stderr(Stdio::inherit())
        .output()
        .await
        .with_context(|| format!("failed to run {}", python.display()))?;
    ensure!(output.status.success(), "Rasa's {kind} broker failed");
    let text = String::from_utf8_lossy(&output.stdout);
    text.trim().lines().last().unwrap_or_default().parse().with_context(|| format!("{text} is no rate"))
}
