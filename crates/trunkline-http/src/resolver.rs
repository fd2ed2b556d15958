//! Names that may lead anywhere.

use std::net::SocketAddr;
use std::sync::Arc;

use reqwest::dns::{Addrs, Name, Resolve, Resolving};

use crate::{Allow, Refused};

/// Asks another resolver and lets only what is allowed through, so that the address that was checked is the one that is
/// connected to.
pub(crate) struct Guarded {
    pub(crate) inner: Arc<dyn Resolve>,
    pub(crate) allow: Allow,
}

impl Resolve for Guarded {
    fn resolve(&self, name: Name) -> Resolving {
        let (host, allow) = (name.as_str().to_owned(), self.allow.clone());
        let found = self.inner.resolve(name);
        Box::pin(async move {
            let found: Vec<SocketAddr> = found.await?.collect();
            let (permitted, refused): (Vec<_>, Vec<_>) = found.into_iter().partition(|address| allow.permits(address.ip()));
            match refused.first() {
                Some(address) if permitted.is_empty() => Err(Refused::new(host, address.ip()).into()),
                _ => Ok(Box::new(permitted.into_iter()) as Addrs),
            }
        })
    }
}

/// The resolver of the system.
pub(crate) struct System;

impl Resolve for System {
    fn resolve(&self, name: Name) -> Resolving {
        Box::pin(async move {
            let found: Vec<SocketAddr> = tokio::net::lookup_host((name.as_str(), 0)).await?.collect();
            Ok(Box::new(found.into_iter()) as Addrs)
        })
    }
}
