//! Broker and source `kafka`.

use trunkline_brokers::Brokers;

/// `brokers` with the row of this crate.
pub fn add_to(brokers: Brokers) -> Brokers {
    brokers
}
