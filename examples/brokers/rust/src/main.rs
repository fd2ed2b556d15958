//! The gateway, with one broker more: `type: collector`.

mod collector;

use std::process::ExitCode;

use trunkline::broker::BrokerSpec;

fn main() -> ExitCode {
    let collector = BrokerSpec::new("collector", "a collector of lines over TCP", collector::from_section);
    trunkline::main_with(&trunkline::adapters().with_broker(collector))
}
