//! The gateway, with one channel more: `outbox` in `credentials.yml`.

mod outbox;

use std::process::ExitCode;

use trunkline::channel::ChannelSpec;

fn main() -> ExitCode {
    let outbox = ChannelSpec::new("outbox", "letters in by HTTP, answers as files in a directory", outbox::from_section);
    trunkline::main_with(&trunkline::adapters().with_channel(outbox))
}
