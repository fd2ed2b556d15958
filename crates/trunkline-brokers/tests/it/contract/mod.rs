//! The suite that every adapter has to pass, on the real receiver of each.

mod exec;
mod file;
mod rabbitmq;
mod redis;
mod sql_servers;
mod sqlite;
mod webhook;
