//! The adapter against a real Kafka, which `scripts/services start kafka` starts.

#![expect(clippy::unwrap_used, reason = "helpers of tests are tests as well")]

mod common;
mod contract;
mod kerberos;
mod outages;
mod permissions;
mod publish;
mod security;
mod settings;
mod sizes;
mod source;
