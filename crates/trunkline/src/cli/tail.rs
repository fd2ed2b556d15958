#[derive(Debug, clap::Args)]
pub(super) struct Tail {}
impl Tail { pub(super) fn run(self) -> Result<super::output::Outcome, super::output::Failure> { Ok(super::output::Outcome::Done) } }
