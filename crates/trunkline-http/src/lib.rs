//! HTTP to others: the one guarded client, and signatures of webhooks.
//!
//! Every request to an address that users supply goes through [`Client`]: addresses are checked when a connection is made
//! ([`Allow`]), literal ones as well as those that names resolve to; redirects are not followed; proxies of the environment
//! are not used; time and the size of an answer are bounded. What an answer means is the caller's business.
//!
//! [`Endpoint`] reads a section that names a server, and asks it: with its headers and certificates, and without showing what is
//! secret.
//!
//! [`sign`] makes and verifies the signatures that webhooks carry.

mod allow;
mod answer;
mod client;
mod endpoint;
mod failure;
mod incoming;
mod resolver;
mod retry_after;
mod secrets;
pub mod sign;
mod tls;

pub use allow::{Allow, Network, NetworkError, Reach, Refused};
pub use answer::Answer;
pub use client::{CONNECT_TIMEOUT, Client, Request};
pub use endpoint::{Endpoint, shown};
pub use failure::Failure;
pub use incoming::Incoming;
pub use reqwest::dns::{Addrs, Name, Resolve, Resolving};
pub use reqwest::header::{self, HeaderMap, HeaderName, HeaderValue};
pub use reqwest::{Method, StatusCode, Url};
pub use retry_after::{MOST_WAIT, retry_after};
pub use secrets::Secrets;
pub use tls::Tls;
