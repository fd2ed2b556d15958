//! The gateway, with one assistant more: `type: keywords`.

mod keywords;

use std::process::ExitCode;

use trunkline::assistant::AssistantSpec;

fn main() -> ExitCode {
    let keywords = AssistantSpec::new("keywords", "an answer for each keyword", keywords::from_section);
    trunkline::main_with(&trunkline::adapters().with_assistant(keywords))
}
