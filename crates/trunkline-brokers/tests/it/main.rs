//! The adapters against real files and real databases.

#![expect(clippy::unwrap_used, reason = "helpers of tests are tests as well")]

mod common;
mod contract;
mod exec;
mod exec_examples;
mod exec_python;
mod file;
mod file_crashes;
mod file_errors;
mod kills;
mod settings;
mod sql;
mod sql_crashes;
