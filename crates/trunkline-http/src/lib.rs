//! HTTP to others: the one guarded client, and signatures of webhooks.
//!
//! Every request to an address that users supply goes through [`Client`]: addresses are checked when a connection is made
//! ([`Allow`]), literal ones as well as those that names resolve to; redirects are not followed; proxies of the environment
//! are not used; time and the size of an answer are bounded.
//!
//! A receiver of events is asked in a [`Call`], and [`Judge`] says what its answers mean for them.
//!
//! [`Endpoint`] reads a section that names a server, and asks it: with its headers and certificates, and without showing what is
//! secret.
//!
//! [`sign`] makes and verifies the signatures that webhooks carry.

mod allow;
mod answer;
mod call;
mod client;
mod endpoint;
mod failure;
mod incoming;
mod judge;
mod resolver;
mod retry_after;
mod secrets;
pub mod sign;
mod tls;

pub use allow::{Allow, Network, NetworkError, Reach, Refused};
pub use answer::Answer;
pub use call::{AFTER_ANOTHER, Call};
pub use client::{CONNECT_TIMEOUT, Client, Request};
pub use endpoint::{Endpoint, shown};
pub use failure::Failure;
pub use incoming::Incoming;
pub use judge::{Judge, Verdict, Words};
pub use reqwest::dns::{Addrs, Name, Resolve, Resolving};
pub use reqwest::header::{self, HeaderMap, HeaderName, HeaderValue};
pub use reqwest::{Method, StatusCode, Url};
pub use retry_after::{MOST_WAIT, retry_after};
pub use secrets::Secrets;
pub use trunkline_tls::TlsFiles;
