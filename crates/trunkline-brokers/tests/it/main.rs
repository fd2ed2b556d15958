//! The adapters against real files and real databases.

#![expect(clippy::unwrap_used, reason = "helpers of tests are tests as well")]

mod amqp;
mod amqp_cable;
mod amqp_common;
mod amqp_failures;
mod amqp_settings;
mod amqp_source;
mod amqp_tls;
mod amqp_waiting;
mod common;
mod contract;
mod exec;
mod exec_examples;
mod exec_python;
mod file;
mod file_crashes;
mod file_errors;
mod file_rotation;
mod file_source;
mod kills;
mod redis;
mod redis_cluster;
mod redis_common;
mod redis_crashes;
mod redis_errors;
mod redis_settings;
mod redis_source;
mod servers;
mod settings;
mod sql;
mod sql_crashes;
mod sql_server_crashes;
mod sql_server_errors;
mod sql_servers;
mod sql_settings;
mod sql_source;
mod sql_tracker_store;
mod webhook;
mod webhook_answers;
mod webhook_settings;
